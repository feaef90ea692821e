//! Tables, times and numbers for people.

/// Columns that are as wide as their widest cell so far.
pub(crate) struct Columns {
    head: Vec<String>,
    /// Per column: its width, and whether it holds numbers, which stand at the right.
    shape: Vec<(usize, bool)>,
}

impl Columns {
    /// Columns with these names. A `>` in front of a name says that the column holds numbers.
    pub(crate) fn new(head: &[&str]) -> Self {
        let head = head
            .iter()
            .map(|name| (name.trim_start_matches('>'), name.starts_with('>')));
        Columns {
            shape: head.clone().map(|(name, right)| (width(name), right)).collect(),
            head: head.map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// Makes room for a row.
    pub(crate) fn fit(&mut self, row: &[String]) {
        for (cell, (wide, _)) in row.iter().zip(&mut self.shape) {
            *wide = width(cell).max(*wide);
        }
    }

    /// The line of names.
    pub(crate) fn head(&self) -> String {
        self.line(&self.head)
    }

    /// A line with its end.
    pub(crate) fn line(&self, row: &[String]) -> String {
        let cells = row
            .iter()
            .zip(&self.shape)
            .map(|(cell, (wide, right))| match right {
                true => format!("{cell:>wide$}"),
                false => format!("{cell:<wide$}"),
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut columns = Columns::new(head);
    rows.iter().for_each(|row| columns.fit(row));
    let lines = rows.iter().map(|row| columns.line(row));
    std::iter::once(columns.head()).chain(lines).collect()
}

/// A list on one line; `empty` if there is nothing in it.
pub(crate) fn list(items: &[String], empty: &str) -> String {
    if items.is_empty() {
        empty.to_owned()
    } else {
        items.join(", ")
    }
}

/// Unix seconds as a date and time, UTC; `-` for none.
pub(crate) fn time(at: Option<i64>) -> String {
    let time = at.and_then(|at| jiff::Timestamp::from_second(at).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Milliseconds as people read them: `310 ms`, `3.2 s`; `-` for none.
pub(crate) fn span(ms: Option<i64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) => format!("{}.{} s", number(ms / 1_000), ms % 1_000 / 100),
    }
}

/// 10^-12 US dollars, rounded to millionths; what is less than one of those is told from nothing. `-` for an unknown price.
pub(crate) fn money(pico_usd: Option<i64>) -> String {
    const MICRO: i64 = 1_000_000;
    let Some(pico_usd) = pico_usd else {
        return "-".to_owned();
    };
    let micro = pico_usd.saturating_add(MICRO / 2).div_euclid(MICRO);
    if micro == 0 && pico_usd > 0 {
        return "<0.000001".to_owned();
    }
    format!("{}.{:06}", number(micro / MICRO), micro % MICRO)
}

/// A text of somebody else, without what a terminal would obey: control characters, and those that turn the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if obeyed(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["é".to_owned(), "x".to_owned()],
            vec!["longer".to_owned(), String::new()],
        ];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID      NAME\né       x\nlonger\n");
    }

    #[test]
    fn numbers_stand_at_the_right() {
        let rows = vec![
            vec!["1".to_owned(), "a".to_owned()],
            vec!["12,345".to_owned(), "b".to_owned()],
        ];
        assert_eq!(
            table(&[">COUNT", "NAME"], &rows),
            " COUNT  NAME\n     1  a\n12,345  b\n"
        );
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(Some(1_814_356_800)), "2027-06-30T12:00:00Z");
        assert_eq!(time(None), "-");
    }

    #[test]
    fn numbers_are_readable() {
        let numbers = [0, 999, 1_000, -1_234_567].map(number);
        assert_eq!(numbers, ["0", "999", "1,000", "-1,234,567"]);
        let spans = [None, Some(0), Some(999), Some(3_299), Some(4_000_000)].map(span);
        assert_eq!(spans, ["-", "0 ms", "999 ms", "3.2 s", "4,000.0 s"]);
        let money = [
            None,
            Some(0),
            Some(1),
            Some(499_999),
            Some(500_000),
            Some(8_112_500_000),
            Some(1_234_500_000_000_000),
        ]
        .map(money);
        assert_eq!(
            money,
            [
                "-",
                "0.000000",
                "<0.000001",
                "<0.000001",
                "0.000001",
                "0.008113",
                "1,234.500000"
            ]
        );
    }

    #[test]
    fn a_terminal_obeys_no_text_of_others() {
        assert_eq!(
            printable("渠 \u{1b}[2J\r\n\u{9b}1m\u{202e}x"),
            "渠 \u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}1m\u{fffd}x"
        );
    }
}
