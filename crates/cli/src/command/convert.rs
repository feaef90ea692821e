//! `opm convert`: a conversion without a gateway.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use ai_api_converter::stream::{Converter, Stream};
use ai_api_converter::{
    Context, Dialect, Format, Options, Source, Target, convert_request, convert_response,
};
use anyhow::{Context as _, anyhow};

use crate::args::{Convert, What};

pub(super) fn run(args: &Convert) -> anyhow::Result<ExitCode> {
    let mut input = Vec::new();
    match args.file.as_deref().filter(|path| path.as_os_str() != "-") {
        Some(path) => input = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?,
        None => {
            std::io::stdin()
                .read_to_end(&mut input)
                .context("reading standard input")?;
        }
    }
    let mut well = true;
    let output = match args.kind {
        What::Request => request(args, &input)?,
        What::Response => {
            let context = context(args.to, args.from)?;
            let answer =
                convert_response(&input, &context).map_err(|failure| anyhow!("{}", failure.message))?;
            answer.body
        }
        What::Stream => {
            let (output, ended) = stream(args, &input)?;
            well = ended;
            output
        }
    };
    let mut stdout = std::io::stdout();
    stdout.write_all(&output)?;
    stdout.write_all(b"\n")?;
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn request(args: &Convert, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let model = args.model.as_deref();
    let source = Source {
        format: args.from,
        model: model.filter(|_| args.from == Format::Gemini),
        stream: false,
        array: false,
    };
    let scan = ai_api_converter::scan::scan(input).map_err(|error| anyhow!("{error}"))?;
    let name = model.or(scan.model.as_deref()).unwrap_or("model").to_owned();
    let target = Target {
        format: args.to,
        dialect: Dialect::Native,
        model: &name,
        domain: 0,
    };
    let converted =
        convert_request(input, &source, &target, &Options::default()).map_err(|error| anyhow!("{error}"))?;
    if args.explain {
        let report = &converted.report;
        for (word, list) in [
            ("dropped", &report.dropped),
            ("altered", &report.altered),
            ("emulated", &report.emulated),
        ] {
            for entry in list {
                eprintln!("{word}: {entry}");
            }
        }
    }
    Ok(converted.body)
}

/// The converted stream, and whether it ended well.
fn stream(args: &Convert, input: &[u8]) -> anyhow::Result<(Vec<u8>, bool)> {
    let mut stream = Stream::Convert(Box::new(Converter::new(context(args.to, args.from)?)));
    let mut out = Vec::new();
    let progress = stream.push(input, &mut out);
    let progress = if progress.failure.is_some() {
        progress
    } else {
        stream.end(&mut out)
    };
    let Some(failure) = progress.failure else {
        return Ok((out, true));
    };
    stream.fail(&failure, &mut out);
    eprintln!("{}", failure.message);
    Ok((out, false))
}

/// The context of a plain request of the client's format.
fn context(client: Format, upstream: Format) -> anyhow::Result<Context> {
    let body = match client {
        Format::Chat => {
            r#"{"model":"model","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}"#
        }
        Format::Responses => r#"{"model":"model","stream":true,"store":false,"input":"x"}"#,
        Format::Messages => {
            r#"{"model":"model","stream":true,"max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#
        }
        Format::Gemini => {
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#
        }
    };
    let source = Source {
        format: client,
        model: Some("model"),
        stream: true,
        array: false,
    };
    let target = Target {
        format: upstream,
        dialect: Dialect::Native,
        model: "model",
        domain: 0,
    };
    let converted = convert_request(body.as_bytes(), &source, &target, &Options::default())
        .map_err(|error| anyhow!("{error}"))?;
    Ok(converted.context)
}
