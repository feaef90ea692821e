//! Questions in the query of a URL.

use std::str::FromStr;

use crate::body::check_names;
use crate::refusal::Refusal;

/// Puts what was asked into its places; an unknown name is refused. A client key has no business in a URL, which is logged.
pub(super) fn fill<const N: usize>(
    pairs: Vec<(String, String)>,
    members: [(&'static str, &mut Option<String>); N],
) -> Result<(), Refusal> {
    let known = members.each_ref().map(|(name, _)| *name);
    check_names(pairs.iter().map(|(name, _)| name.as_str()), &known)?;
    let mut members = members;
    for (name, value) in pairs {
        if opm_core::client_key::parse(&value).is_some() {
            let refusal = Refusal::invalid(format!("`{name}`: it is a client key"));
            return Err(refusal.help("name a client key by its id or its name"));
        }
        for (member, place) in &mut members {
            if *member == name {
                **place = Some(value.clone());
            }
        }
    }
    Ok(())
}

/// A number, if one was given.
pub(super) fn number<T: FromStr>(member: &str, text: Option<String>) -> Result<Option<T>, Refusal> {
    let read = |text: String| {
        text.parse()
            .map_err(|_| Refusal::invalid(format!("`{member}`: expected a number")))
    };
    text.map(read).transpose()
}

/// `true` or `false`, if one was given.
pub(super) fn flag(member: &str, text: Option<String>) -> Result<bool, Refusal> {
    match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Refusal::invalid(format!("`{member}`: expected true or false"))),
    }
}
