//! Tables and times for people.

/// Columns as wide as their widest cell, the last one as it is.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let wide = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let widths = cells.map(|cell| cell.chars().count());
        widths
            .max()
            .unwrap_or(0)
            .max(head.get(at).map_or(0, |name| name.len()))
    };
    let widths: Vec<usize> = (0..head.len()).map(wide).collect();
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
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

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["é".to_owned(), "x".to_owned()],
            vec!["longer".to_owned(), String::new()],
        ];
        assert_eq!(
            super::table(&["ID", "NAME"], &rows),
            "ID      NAME\né       x\nlonger\n"
        );
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(super::time(Some(1_814_356_800)), "2027-06-30T12:00:00Z");
        assert_eq!(super::time(None), "-");
    }
}
