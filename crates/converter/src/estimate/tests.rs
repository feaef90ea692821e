use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// What is likely is never more than the most.
    #[test]
    fn what_is_likely_is_possible(text in prop_oneof![any::<String>(), "[ \\n\\t\\r0-9a-zA-Z.]{0,60}", "(\\n|\\r\\n| |1|\u{1}){0,60}"]) {
        let mut estimator = Estimator::default();
        estimator.add(&text);
        prop_assert!(estimator.tokens() <= estimator.most(), "{:?}", text);
    }
}

#[test]
fn a_learned_factor_moves_slowly_and_never_far() {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(learned(1.0, 100, 120), 1.02));
    assert!(near(learned(1.2, 100, 120), 1.2));
    assert!(near(learned(1.0, 100, 100_000), 1.1), "one request says little");
    assert!(near(learned(1.0, 0, 100), 1.0) && near(learned(1.0, 100, 0), 1.0));
    assert!(near(learned(f64::NAN, 1, 1), 1.0) && near(learned(9.0, 0, 0), 2.0));
    let many = |reported| (0..100).fold(1.0, |factor, _| learned(factor, 100, reported));
    assert!((many(1_000) - 2.0).abs() < 0.01 && (many(1) - 0.5).abs() < 0.01);
    assert!((many(130) - 1.3).abs() < 0.01);
}

#[test]
fn escapes_count_as_what_they_stand_for() {
    let both = |text: &Text<'_>| {
        let mut estimator = Estimator::default();
        estimator.add_text(text);
        (estimator.tokens(), estimator.most())
    };
    let escaped = Text::Escaped(r#"a\n\"b\" \u4f60\u597D \ud83d\ude42\/ \\ w\u00f6rld"#);
    assert_eq!(both(&escaped), both(&Text::from("a\n\"b\" 你好 🙂/ \\ wörld")));
    assert_eq!(both(&Text::Escaped("\\ud83d x")), both(&Text::from("\u{fffd} x")));
}

#[test]
fn long_runs_are_summed_up_like_short_ones() {
    let text = "Hello wörld, 你好 12 ".repeat(3 * RUN / 20);
    let mut whole = Estimator::default();
    whole.add(&text);
    let mut pieces = Estimator::default();
    for piece in text.split_inclusive('你') {
        pieces.add(piece);
    }
    assert_eq!(whole, pieces);
    assert!(whole.most() > whole.tokens());
}

fn tokens(text: &str) -> u64 {
    let mut estimator = Estimator::default();
    estimator.add(text);
    estimator.tokens()
}

#[test]
fn english_and_chinese_are_near_their_real_counts() {
    // o200k counts 10 and 7 tokens for these.
    assert!((8..=13).contains(&tokens("The quick brown fox jumps over the lazy dog.")));
    assert!((5..=10).contains(&tokens("今天天气怎么样？")));
    assert_eq!(tokens(""), 0);
}

#[test]
fn splitting_a_text_does_not_change_its_count() {
    let text = "Hello wörld, 123 — 你好";
    let mut pieces = Estimator::default();
    text.char_indices()
        .for_each(|(at, c)| pieces.add(&text[at..at + c.len_utf8()]));
    assert_eq!(pieces.tokens(), tokens(text));
    let mut whole = Estimator::default();
    whole.add(text);
    assert_eq!(pieces, whole);
}
