//! The name of the store's data: another one means that they were lost.
//!
//! `<any text>@<when it was made, ms by the store's clock>`. With a `~` in front there was a store before that was taken back to older data
//! (`beat.lua`): what lies there under the usual names is out of date, so the meters of such a generation have names of their own.

use crate::subject::Key;

/// When a generation was made, milliseconds since 1970 by the store's clock; 0: it does not say.
pub(super) fn made_at(generation: &str) -> u64 {
    let made = generation
        .rsplit_once('@')
        .and_then(|(_, made)| made.parse().ok());
    made.unwrap_or(0)
}

/// The name of a meter without the namespace. `period`: the start of a budget's.
pub(super) fn meter_name(generation: &str, key: Key, period: Option<u64>) -> String {
    let mut name = format!("{:032x}", key.0);
    if let Some(period) = period {
        name.push_str(&format!(":{period:x}"));
    }
    if generation.starts_with('~') {
        name.push_str(&format!("~{:x}", made_at(generation)));
    }
    name
}

/// The subject and the period of such a name; 0: it has no period.
pub(super) fn read_name(name: &str) -> Option<(Key, u64)> {
    let (name, _) = name.split_once('~').unwrap_or((name, ""));
    let (key, period) = name.split_once(':').unwrap_or((name, "0"));
    let key = u128::from_str_radix(key, 16).ok()?;
    Some((Key(key), u64::from_str_radix(period, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_of_a_store_that_was_taken_back_have_names_of_their_own() {
        let (key, id) = (Key(0xab), "000000000000000000000000000000ab");
        let (usual, other) = ("r-1@1000", "~r-2@2748");
        assert_eq!(
            (made_at(usual), made_at(other), made_at("r-1")),
            (1_000, 2_748, 0)
        );
        for (generation, period, name) in [
            (usual, None, id.to_owned()),
            (usual, Some(255), format!("{id}:ff")),
            (other, None, format!("{id}~abc")),
            (other, Some(255), format!("{id}:ff~abc")),
        ] {
            assert_eq!(meter_name(generation, key, period), name);
            assert_eq!(read_name(&name), Some((key, period.unwrap_or(0))));
        }
        assert_eq!(read_name("x"), None);
    }
}
