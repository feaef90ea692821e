//! Estimates against real tokenizers: what is likely is near, and what is said to be the most is not exceeded.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::Path;

use ai_api_converter::estimate::Estimator;

/// Of a dozen public vocabularies those that make the most of Latin text, of digits and of the other scripts.
const VOCABULARIES: [&str; 4] = ["o200k_base", "cl100k_base", "qwen2", "mistral_v3"];

fn estimate(text: &str) -> (f64, f64) {
    let mut estimator = Estimator::default();
    estimator.add(text);
    let number = |tokens: u64| f64::from(u32::try_from(tokens).unwrap());
    (number(estimator.tokens()), number(estimator.most()))
}

fn tokens(vocabulary: &str, text: &str) -> f64 {
    let count = tiktoken::get_encoding(vocabulary).unwrap().count(text);
    f64::from(u32::try_from(count).unwrap())
}

/// The largest share of the bound that a vocabulary makes of the text.
fn share(text: &str) -> f64 {
    let (_, most) = estimate(text);
    let shares = VOCABULARIES.map(|vocabulary| tokens(vocabulary, text) / most);
    shares.into_iter().fold(0.0, f64::max)
}

/// Pseudo-random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn text(&mut self, letters: &[char], length: usize) -> String {
        (0..length)
            .map(|_| letters.get(self.throw(letters.len())).unwrap())
            .collect()
    }

    fn words(&mut self, letters: &[char], length: usize) -> String {
        let words: Vec<String> = (0..1200 / (length + 1))
            .map(|_| self.text(letters, length))
            .collect();
        words.join(" ")
    }
}

fn range(from: char, to: char) -> Vec<char> {
    (from..=to).collect()
}

/// Random text of all kinds: what nobody writes, and what tokenizers are worst at.
fn hostile() -> Vec<(String, String)> {
    let mut dice = Dice(7);
    let (lower, upper, digits) = (range('a', 'z'), range('A', 'Z'), range('0', '9'));
    let mixed = [lower.clone(), upper.clone()].concat();
    let base64 = [mixed.clone(), digits.clone(), vec!['+', '/']].concat();
    let hex = [digits.clone(), range('a', 'f')].concat();
    let numbers = [digits.clone(), vec![' ', ',', '.', '-']].concat();
    let alphabets = [
        ("lower", lower.clone()),
        ("upper", upper.clone()),
        ("mixed", mixed),
        ("base64", base64),
        ("hex", hex),
        ("digits", digits),
        ("numbers", numbers),
        ("consonants", "bcdfghjklmnpqrstvwxz".chars().collect()),
        ("vowels", "aeiou".chars().collect()),
        ("rare letters", "jkqvwxz".chars().collect()),
        ("printable", range(' ', '~')),
        ("signs", range('!', '/')),
        ("blanks", vec![' ', '\t', '\n', '\r']),
        ("controls", range('\u{1}', '\u{1f}')),
        ("Latin-1", range('\u{a1}', 'ÿ')),
        ("Latin extended", range('Ā', 'ɏ')),
        ("Greek", range('Α', 'ω')),
        ("Cyrillic", range('А', 'я')),
        ("Hebrew", range('א', 'ת')),
        ("Arabic", range('ا', 'ي')),
        ("Armenian", range('Ա', 'ֆ')),
        ("Devanagari", range('\u{900}', '\u{97f}')),
        ("Thai", range('\u{e01}', '\u{e5b}')),
        ("Tibetan", range('\u{f00}', '\u{fff}')),
        ("Georgian", range('ა', 'ჿ')),
        ("kana", range('ぁ', 'ヺ')),
        ("ideographs", range('一', '鿿')),
        ("rare ideographs", range('㐀', '䶿')),
        ("Hangul", range('가', '힣')),
        ("symbols", range('\u{2190}', '\u{27bf}')),
        ("punctuation", range('\u{2010}', '\u{205e}')),
        ("emoji", range('\u{1f300}', '\u{1f64f}')),
        ("flags", range('\u{1f1e6}', '\u{1f1ff}')),
        ("letters of mathematics", range('\u{1d400}', '\u{1d4ff}')),
        ("private", range('\u{e000}', '\u{f8ff}')),
    ];
    let mut texts = Vec::new();
    for (name, letters) in alphabets {
        texts.push((name.to_owned(), dice.text(&letters, 1200)));
        texts.push((format!("{name}, in words"), dice.words(&letters, 5)));
    }
    for length in [1, 2, 3, 4, 7, 10] {
        texts.push((format!("words of {length}"), dice.words(&lower, length)));
        texts.push((format!("WORDS OF {length}"), dice.words(&upper, length)));
    }
    let camel: String = (0..300)
        .flat_map(|_| [dice.text(&upper, 1), dice.text(&lower, 3)])
        .collect();
    texts.push(("camel case".into(), camel));
    let family = "👨‍👩‍👧‍👦 🏳️‍🌈 ".repeat(40);
    texts.push(("emoji of several".into(), family));
    texts
}

/// Texts that people wrote: the documents and the code of this repository.
fn ordinary() -> Vec<(&'static str, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &'static str| (name, fs::read_to_string(root.join(name)).unwrap());
    [
        "README.md",
        "README.zh-CN.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Cargo.toml",
        "dev",
        "crates/admin/openapi.json",
        "crates/converter/src/scan.rs",
        "crates/converter/src/json/reader.rs",
    ]
    .map(read)
    .to_vec()
}

#[test]
fn no_vocabulary_exceeds_the_most_even_of_random_text() {
    let over: Vec<String> = hostile()
        .into_iter()
        .map(|(name, text)| (name, share(&text)))
        .filter(|(_, share)| *share > 1.03)
        .map(|(name, share)| format!("{name}: {share:.3} of the bound"))
        .collect();
    assert!(over.is_empty(), "{over:#?}");
}

#[test]
fn ordinary_text_stays_far_below_the_most_and_the_most_below_its_bytes() {
    for (name, text) in ordinary() {
        let share = share(&text);
        assert!(
            (0.25..0.8).contains(&share),
            "{name} costs {share:.3} of the bound"
        );
        let bytes = f64::from(u32::try_from(text.len()).unwrap());
        let (_, most) = estimate(&text);
        assert!(
            most <= 0.8 * bytes,
            "{name}: the bound is {:.2} per byte",
            most / bytes
        );
    }
    let prose = "It was a bright cold day in April, and the clocks were striking thirteen. ";
    let (_, most) = estimate(&prose.repeat(10));
    assert!(most < 0.65 * 740.0, "prose: {most} for 740 bytes");
}

#[test]
fn what_is_likely_is_near_what_is_counted() {
    for (name, text) in ordinary() {
        let (likely, _) = estimate(&text);
        let error = likely / tokens("o200k_base", &text) - 1.0;
        assert!(error.abs() < 0.2, "{name} is {:+.0} % off", error * 100.0);
    }
}
