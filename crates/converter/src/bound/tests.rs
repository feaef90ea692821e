use super::*;
use crate::scan::scan;

fn member(client: Format) -> OutputMember {
    OutputMember::of(client, client, Dialect::Native)
}

fn compat() -> OutputMember {
    OutputMember::of(Format::Chat, Format::Chat, Dialect::Compat)
}

fn held(body: &str, member: OutputMember, most: u64) -> Result<String, TooLittle> {
    let found = scan(body.as_bytes()).unwrap();
    let held = bound_output(body.as_bytes(), &found, member, most)?;
    Ok(held.map_or_else(|| "unchanged".into(), |body| String::from_utf8(body).unwrap()))
}

#[test]
fn larger_bounds_are_lowered_at_every_place_and_smaller_ones_stay() {
    let check = |body: &str, member, wanted: &str| assert_eq!(held(body, member, 100).unwrap(), wanted);
    check(
        r#"{ "max_tokens" : 500 , "x":"max_tokens" }"#,
        member(Format::Messages),
        r#"{ "max_tokens" : 100 , "x":"max_tokens" }"#,
    );
    check(
        r#"{"max_tokens":99,"max_tokens":1e3,"max_completion_tokens":200}"#,
        member(Format::Chat),
        r#"{"max_tokens":99,"max_tokens":100,"max_completion_tokens":100}"#,
    );
    check(r#"{"max_tokens":100}"#, member(Format::Chat), "unchanged");
    check(
        r#"{"max_tokens":101}"#,
        member(Format::Chat),
        r#"{"max_tokens":100}"#,
    );
    check(r#"{"max_tokens":0}"#, member(Format::Messages), "unchanged");
    check(
        r#"{"max_output_tokens":-1,"max_tokens":900}"#,
        member(Format::Responses),
        r#"{"max_output_tokens":100,"max_tokens":900}"#,
    );
    check(
        r#"{"max_tokens":7,"max_tokens":null}"#,
        member(Format::Chat),
        r#"{"max_tokens":7,"max_tokens":100}"#,
    );
}

#[test]
fn the_member_that_the_upstream_knows_is_put_in() {
    let check = |body: &str, member, wanted: &str| assert_eq!(held(body, member, 100).unwrap(), wanted);
    check(
        r#" {"messages":[]}"#,
        member(Format::Chat),
        r#" {"max_completion_tokens":100,"messages":[]}"#,
    );
    check(
        r#"{"messages":[]}"#,
        compat(),
        r#"{"max_tokens":100,"messages":[]}"#,
    );
    check(
        r#"{"max_completion_tokens":null,"max_tokens": null}"#,
        compat(),
        r#"{"max_completion_tokens":null,"max_tokens": 100}"#,
    );
    check(r#"{}"#, member(Format::Responses), r#"{"max_output_tokens":100}"#);
    check(
        r#"{"max_output_tokens":5}"#,
        member(Format::Messages),
        r#"{"max_tokens":100,"max_output_tokens":5}"#,
    );
    // Zero is no bound for some compatible servers, and a refusal at OpenAI.
    check(r#"{"max_tokens":0}"#, compat(), r#"{"max_tokens":100}"#);
    check(r#"{"max_tokens":0}"#, member(Format::Chat), "unchanged");
}

#[test]
fn completions_are_not_made_longer_than_they_would_be() {
    let check = |body: &str, most, wanted: &str| {
        assert_eq!(held(body, member(Format::Chat), most).unwrap(), wanted);
    };
    check(r#"{"prompt":"a"}"#, 100, r#"{"max_tokens":16,"prompt":"a"}"#);
    check(r#"{"prompt":"a"}"#, 3, r#"{"max_tokens":3,"prompt":"a"}"#);
    check(
        r#"{"prompt":"a","max_tokens":200}"#,
        100,
        r#"{"prompt":"a","max_tokens":100}"#,
    );
    check(r#"{"prompt":"a","max_tokens":0}"#, 100, "unchanged");
}

#[test]
fn gemini_is_held_inside_its_config() {
    let check = |body: &str, wanted: &str| assert_eq!(held(body, member(Format::Gemini), 9).unwrap(), wanted);
    check(
        r#"{"contents":[]}"#,
        r#"{"generationConfig":{"maxOutputTokens":9},"contents":[]}"#,
    );
    check(
        r#"{"generationConfig":null}"#,
        r#"{"generationConfig":{"maxOutputTokens":9}}"#,
    );
    check(
        r#"{"generation_config": { } }"#,
        r#"{"generation_config": {"maxOutputTokens":9 } }"#,
    );
    check(
        r#"{"generationConfig":{"topK":1}}"#,
        r#"{"generationConfig":{"maxOutputTokens":9,"topK":1}}"#,
    );
    check(
        r#"{"generationConfig":{"max_output_tokens":"200","maxOutputTokens":null}}"#,
        r#"{"generationConfig":{"max_output_tokens":9,"maxOutputTokens":9}}"#,
    );
    check(
        r#"{"generationConfig":{"maxOutputTokens":3},"generation_config":{}}"#,
        r#"{"generationConfig":{"maxOutputTokens":3},"generation_config":{"maxOutputTokens":9}}"#,
    );
    check(r#"{"generationConfig":{"maxOutputTokens":3}}"#, "unchanged");
}

#[test]
fn a_thinking_budget_stays_below_the_bound_or_the_request_is_refused() {
    let check = |body: &str, most, wanted: Result<&str, u64>| {
        let got = held(body, member(Format::Messages), most);
        assert_eq!(
            got.as_deref().map_err(|little| little.least),
            wanted.as_ref().map(|text| *text).map_err(|least| *least)
        );
    };
    let body = r#"{"thinking":{"type":"enabled","budget_tokens":4096},"max_tokens":8192}"#;
    check(
        body,
        5000,
        Ok(r#"{"thinking":{"type":"enabled","budget_tokens":4096},"max_tokens":5000}"#),
    );
    check(
        body,
        4096,
        Ok(r#"{"thinking":{"type":"enabled","budget_tokens":4095},"max_tokens":4096}"#),
    );
    check(body, 1024, Err(1025));
    check(body, 9000, Ok("unchanged"));
    // Interleaved thinking: the budget was above the limit before.
    check(
        r#"{"thinking":{"type":"enabled","budget_tokens":9000},"max_tokens":8192}"#,
        500,
        Ok(r#"{"thinking":{"type":"enabled","budget_tokens":9000},"max_tokens":500}"#),
    );
    check(
        r#"{"thinking":{"type":"adaptive"},"max_tokens":8192}"#,
        5,
        Ok(r#"{"thinking":{"type":"adaptive"},"max_tokens":5}"#),
    );
    // Another vendor's upstream knows no such rule.
    let other = OutputMember::of(Format::Messages, Format::Gemini, Dialect::Native);
    assert_eq!(
        held(body, other, 500).unwrap(),
        r#"{"thinking":{"type":"enabled","budget_tokens":4096},"max_tokens":500}"#
    );
}

#[test]
fn a_bound_below_what_the_upstream_takes_is_refused_only_where_it_would_be_written() {
    let least = |body: &str, member, most| held(body, member, most).map_err(|little| little.least);
    assert_eq!(least(r#"{}"#, member(Format::Responses), 15), Err(16));
    assert_eq!(
        least(r#"{"max_tokens":1}"#, member(Format::Chat), 15),
        Ok("unchanged".into())
    );
    assert_eq!(
        least(r#"{"max_tokens":50}"#, compat(), 1),
        Ok(r#"{"max_tokens":1}"#.into())
    );
    assert_eq!(least(r#"{}"#, member(Format::Gemini), 0), Err(1));
    let converted = OutputMember::of(Format::Gemini, Format::Chat, Dialect::Native);
    assert_eq!(least(r#"{}"#, converted, 15), Err(16));
}

#[test]
fn what_a_request_allows_is_told() {
    let given = |body: &str, member: OutputMember| member.given(&scan(body.as_bytes()).unwrap());
    assert_eq!(given(r#"{}"#, compat()), None);
    assert_eq!(
        given(r#"{"max_tokens":5,"max_completion_tokens":7}"#, compat()),
        Some(7)
    );
    assert_eq!(
        given(r#"{"max_tokens":5,"max_completion_tokens":null}"#, compat()),
        Some(5)
    );
    assert_eq!(given(r#"{"max_tokens":0}"#, compat()), None);
    assert_eq!(given(r#"{"max_tokens":-1}"#, compat()), None);
    assert_eq!(given(r#"{"max_output_tokens":5}"#, compat()), None);
    let gemini = member(Format::Gemini);
    assert_eq!(
        given(r#"{"generationConfig":{"maxOutputTokens":5}}"#, gemini),
        Some(5)
    );
    assert_eq!(
        given(
            r#"{"generationConfig":{"maxOutputTokens":5},"generation_config":{}}"#,
            gemini
        ),
        None
    );
    let raised = OutputMember::of(Format::Messages, Format::Responses, Dialect::Native);
    assert_eq!(given(r#"{"max_tokens":5}"#, raised), Some(16));
}
