use super::*;
use crate::decode;
use crate::target::Source;

const PROSE: &str = "The answer to the question is 42, and nobody knows why. Это не всё: 今天天气怎么样？";

fn count(body: &str) -> Expected {
    input_of(body.as_bytes(), Format::Chat)
}

fn of_text(text: &str) -> Expected {
    let mut estimator = Estimator::default();
    estimator.add(text);
    Expected {
        likely: estimator.tokens(),
        most: estimator.most(),
        sound: false,
    }
}

/// One message with this text, in every format.
fn conversations(text: &str) -> [(Format, String); 6] {
    [
        (
            Format::Chat,
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#),
        ),
        (
            Format::Chat,
            format!(r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}}]}}"#),
        ),
        (Format::Responses, format!(r#"{{"input":"{text}"}}"#)),
        (
            Format::Responses,
            format!(
                r#"{{"input":[{{"type":"message","role":"user","content":[{{"type":"input_text","text":"{text}"}}]}}]}}"#
            ),
        ),
        (
            Format::Messages,
            format!(
                r#"{{"max_tokens":9,"messages":[{{"content":[{{"text":"{text}","type":"text","cache_control":{{"type":"ephemeral"}}}}],"role":"user"}}]}}"#
            ),
        ),
        (
            Format::Gemini,
            format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"{text}"}}]}}]}}"#),
        ),
    ]
}

#[test]
fn the_same_text_costs_the_same_in_every_format() {
    let text = of_text(PROSE);
    for (format, body) in conversations(PROSE) {
        let found = input_of(body.as_bytes(), format);
        // The text, what opens a request, and one message.
        assert_eq!(found.likely, text.likely + 3 + 4, "{body}");
        assert!((text.most..text.most + 80).contains(&found.most), "{body}");
    }
}

#[test]
fn a_conversation_costs_what_the_decoder_sees() {
    let body = r#"{"model":"m","system":"Be brief.","max_tokens":50,"tools":[{"name":"look","description":"Looks \n around","input_schema":{"type":"object"}}],"messages":[
        {"role":"user","content":"Question"},
        {"role":"assistant","content":[{"type":"text","text":"Yes, "},{"type":"tool_use","id":"toolu_1","name":"look","input":{"a":[1,true,"x"]}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"nothing"}]}]}]}"#;
    let source = Source {
        format: Format::Messages,
        model: None,
        stream: false,
        array: false,
    };
    let decoded = Estimator::of_request(&decode::request(body, &source).unwrap());
    // As if for Gemini: Anthropic's own instructions for tools are not in the decoded request.
    let found = input_of(body.as_bytes(), Format::Gemini);
    // The decoder does not count the names of a definition's members.
    assert!(
        (decoded..decoded + 24).contains(&found.likely),
        "{} but {decoded} decoded",
        found.likely
    );
}

#[test]
fn samples_of_long_texts_are_near_and_never_below() {
    let escaped = r#"He said \"no\" \u4f60\u597d and left.\n"#.replace("\\\\", "\\");
    for text in [
        PROSE,
        "fn main() { let x = 12; }  ",
        "你好，世界。",
        "1234567",
        &escaped,
    ] {
        let long = text.repeat(60_000 / text.len());
        for (format, body) in conversations(&long) {
            let (exact, rough) = (
                input_of(body.as_bytes(), format),
                rough_input_of(body.as_bytes(), format),
            );
            assert!(
                rough.likely.abs_diff(exact.likely) * 20 < exact.likely,
                "{exact:?} {rough:?} {text}"
            );
            assert!(
                rough.most + 200 >= exact.most && rough.most >= long.len() as u64,
                "{exact:?} {rough:?} {text}"
            );
        }
    }
    // Short texts, media and frames are counted as ever.
    let (body, _) = &pieces(&"QUJD".repeat(30_000))[0];
    for body in [body.as_str(), &conversations(PROSE)[0].1] {
        let body = body.as_bytes();
        assert_eq!(rough_input_of(body, Format::Chat), input_of(body, Format::Chat));
    }
}

#[test]
fn framing_is_not_counted() {
    let plain = count(r#"{"messages":[{"role":"user","content":"Hi there"}]}"#);
    let framed = format!(
        r#" {{ "metadata" : {{"a":"{0}"}} , "user":"{0}","messages" : [ {{ "role" : "user" , "id":"{0}","content" : [ {{"type":"text", "annotations":[{{"title":"{0}"}}],"text":"Hi there"}}]}} ] }} "#,
        "x1 ".repeat(300)
    );
    let framed = count(&framed);
    assert_eq!(framed.likely, plain.likely);
    assert!(framed.most <= plain.most + 8);
    // What no vendor knows might be shown to the model.
    let unknown = count(&format!(
        r#"{{"messages":[{{"role":"user","content":"Hi there"}}],"chat_template":"{PROSE}"}}"#
    ));
    assert_eq!(unknown.likely, plain.likely);
    assert!(unknown.most > plain.most + of_text(PROSE).likely);
}

#[test]
fn tools_and_schemas_count_as_minified_json() {
    let schema =
        r#"{"type":"object","properties":{"city":{"type":"string","description":"Where \"it\" is"}}}"#;
    let check = |small: &str, wide: &str| {
        let (small, wide) = (count(small), count(wide));
        assert_eq!(small, wide);
        let schema = of_text(schema).likely;
        assert!(
            (schema..schema + 40).contains(&small.likely),
            "{} {schema}",
            small.likely
        );
    };
    check(
        &format!(r#"{{"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#),
        &format!(
            r#"{{"tools": [ {{ "type" : "function",  "function" :{{ "name":"f" , "parameters" : {} }} }} ] }}"#,
            schema.replace(':', " :\n ")
        ),
    );
    check(
        &format!(
            r#"{{"response_format":{{"type":"json_schema","json_schema":{{"name":"s","schema":{schema}}}}}}}"#
        ),
        &format!(
            r#"{{"response_format":{{"type":"json_schema","json_schema":{{"name":"s","schema":{}}}}}}}"#,
            schema.replace(',', " , ")
        ),
    );
}

/// Bodies with one piece of base64 of this length, and what the text in them costs.
fn pieces(data: &str) -> Vec<(String, &'static str)> {
    let part = |format, part: &str| match format {
        Format::Gemini => format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#),
        Format::Responses => format!(r#"{{"input":[{{"role":"user","content":[{part}]}}]}}"#),
        _ => format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#),
    };
    let url = format!("data:image\\/png;base64,{data}");
    vec![
        (
            part(
                Format::Chat,
                &format!(r#"{{"type":"image_url","image_url":{{"url":"{url}","detail":"high"}}}}"#),
            ),
            "image",
        ),
        (
            part(
                Format::Chat,
                &format!(r#"{{"type":"input_audio","input_audio":{{"data":"{data}","format":"wav"}}}}"#),
            ),
            "audio",
        ),
        (
            part(
                Format::Chat,
                &format!(r#"{{"type":"file","file":{{"file_data":"data:application/pdf;base64,{data}"}}}}"#),
            ),
            "document",
        ),
        (
            part(
                Format::Responses,
                &format!(r#"{{"type":"input_image","image_url":"{url}"}}"#),
            ),
            "image",
        ),
        (
            part(
                Format::Responses,
                &format!(r#"{{"file_data":"{data}","type":"input_file"}}"#),
            ),
            "document",
        ),
        (
            format!(r#"{{"input":[{{"type":"image_generation_call","id":"ig_1","result":"{data}"}}]}}"#),
            "image",
        ),
        (
            format!(
                r#"{{"input":[{{"type":"computer_call_output","call_id":"c","output":{{"type":"computer_screenshot","image_url":"{url}"}}}}]}}"#
            ),
            "image",
        ),
        (
            part(
                Format::Messages,
                &format!(
                    r#"{{"source":{{"data":"{data}","media_type":"image/png","type":"base64"}},"type":"image"}}"#
                ),
            ),
            "image",
        ),
        (
            part(
                Format::Messages,
                &format!(
                    r#"{{"type":"tool_result","tool_use_id":"t","content":[{{"type":"image","source":{{"type":"base64","data":"{data}"}}}}]}}"#
                ),
            ),
            "image",
        ),
        (
            part(
                Format::Gemini,
                &format!(r#"{{"inlineData":{{"mimeType":"video/mp4","data":"{data}"}}}}"#),
            ),
            "video",
        ),
        (
            part(
                Format::Gemini,
                &format!(r#"{{"inline_data":{{"data":"{data}","mime_type":"image/png"}}}}"#),
            ),
            "image",
        ),
    ]
}

#[test]
fn base64_counts_as_media_and_never_as_text() {
    for size in [4_000, 400_000] {
        let bytes = size as u64 / 4 * 3;
        for (body, kind) in pieces(&"iVBORw0KGgoAAAAN".repeat(size / 16)) {
            let found = count(&body);
            let (likely, most) = match kind {
                "image" => (1_000, 10_000),
                "document" => (1_500 + bytes / 20, 5_000 + bytes / 2),
                "audio" => (10 + bytes / 500, 100 + bytes / 20),
                _ => (100 + bytes / 400, 1_000 + bytes / 8),
            };
            let head = &body[..body.len().min(130)];
            assert!(
                found.likely.abs_diff(likely) <= 12,
                "{} likely, not {likely}: {head}",
                found.likely
            );
            assert!(
                (most..most + 150).contains(&found.most),
                "{} at most, not {most}: {head}",
                found.most
            );
        }
    }
    let image = |format| input_of(pieces("AAAA")[0].0.as_bytes(), format).most;
    assert!(image(Format::Gemini) < image(Format::Messages) && image(Format::Messages) < image(Format::Chat));
}

#[test]
fn media_by_address_and_by_id_are_flat_and_other_addresses_are_text() {
    let long = "a/".repeat(200);
    let likely = |part: &str| {
        count(&format!(
            r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#
        ))
        .likely
    };
    let check = |part: &str, wanted: u64| {
        let found = likely(&part.replace("LONG", &long));
        assert!(found.abs_diff(wanted) <= 12, "{found}, not {wanted}: {part}");
    };
    check(
        r#"{"type":"image_url","image_url":{"url":"https://x/LONG"}}"#,
        1_000,
    );
    check(r#"{"type":"input_image","file_id":"file-LONG"}"#, 1_000);
    check(
        r#"{"source":{"type":"file","file_id":"file-LONG"},"type":"image"}"#,
        1_000,
    );
    check(
        r#"{"type":"document","source":{"type":"url","url":"https://x/LONG"}}"#,
        5_000,
    );
    check(
        r#"{"fileData":{"mimeType":"audio/mp3","fileUri":"https://x/LONG"}}"#,
        2_000,
    );
    check(r#"{"type":"container_upload","file_id":"file-LONG"}"#, 0);
    // Not media: a page that was found, and the text of a document.
    let page = likely(&format!(
        r#"{{"type":"web_search_result","url":"https://x/{long}"}}"#
    ));
    let document = likely(&format!(
        r#"{{"type":"document","source":{{"type":"text","media_type":"text/plain","data":"https://x/{long}"}}}}"#
    ));
    assert!(page.abs_diff(of_text(&long).likely) <= 20 && page.abs_diff(document) <= 2);
}

#[test]
fn sealed_reasoning_counts_by_its_length() {
    for part in [
        r#"{"type":"thinking","thinking":"","signature":"STATE"}"#,
        r#"{"data":"STATE","type":"redacted_thinking"}"#,
        r#"{"type":"reasoning","encrypted_content":"STATE"}"#,
        r#"{"thoughtSignature":"STATE","functionCall":{"name":"f","args":{}}}"#,
    ] {
        let part = part.replace("STATE", &"Q".repeat(10_000));
        let found = count(&format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#));
        assert!((600..660).contains(&found.likely), "{}", found.likely);
        assert!((2_500..2_620).contains(&found.most), "{}", found.most);
    }
}

#[test]
fn token_ids_count_one_each() {
    let found = count(r#"{"prompt":[[1,22,333],[4]]}"#);
    assert_eq!(found.likely, 3 + 4);
    assert_eq!(count(r#"{"input":[1,2,3,4,5]}"#).likely, 3 + 5);
}

#[test]
fn what_is_no_json_counts_its_bytes() {
    let whole = Expected {
        likely: 250,
        most: 1_000,
        sound: false,
    };
    assert_eq!(input_of(&[0xff; 1_000], Format::Chat), whole);
    assert_eq!(input_of(&[b'['; 1_000], Format::Chat), whole);
    let cut = br#"{"messages":[{"content":"abc"#;
    assert_eq!(input_of(cut, Format::Chat).most, cut.len() as u64);
}
