//! Log-ins of browsers. Pure: time (Unix seconds) and randomness are arguments; of a session's id only a digest is kept.

use std::collections::HashMap;

use opm_core::{Secret, digest};

/// Seconds after which a session ends in any case.
pub(crate) const LIFE: i64 = 12 * 3600;
/// Seconds without a request after which it ends.
const IDLE: i64 = 3600;
/// Sessions at a time; the one that ends soonest makes room.
const MOST: usize = 32;

/// One browser that is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    csrf: Secret,
    /// Where the log-in came from (`Origin`); later requests must come from there too.
    pub(crate) origin: Option<String>,
    /// Unix seconds.
    pub(crate) ends_at: i64,
    last: i64,
}

impl Session {
    /// The token that has to come with every change.
    pub(crate) fn csrf(&self) -> &str {
        self.csrf.expose()
    }

    /// True if `given` is that token; the time does not depend on where they differ.
    pub(crate) fn is_csrf(&self, given: &str) -> bool {
        self.csrf.matches(&digest(given))
    }

    fn is_over(&self, now: i64) -> bool {
        now >= self.ends_at || now >= self.last + IDLE
    }
}

/// All browsers that are logged in.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<[u8; 32], Session>);

impl Sessions {
    /// Begins a session under the id and with the token made of `random`; both in hexadecimal, the id comes back.
    pub(crate) fn begin(&mut self, random: &[u8; 64], origin: Option<String>, now: i64) -> (String, Session) {
        self.0.retain(|_, session| !session.is_over(now));
        while self.0.len() >= MOST {
            let Some(oldest) = self.0.iter().min_by_key(|(_, session)| session.ends_at) else {
                break;
            };
            let oldest = *oldest.0;
            self.0.remove(&oldest);
        }
        let (id, csrf) = random.split_at(32);
        let session = Session {
            csrf: Secret::new(hex(csrf)),
            origin,
            ends_at: now + LIFE,
            last: now,
        };
        let id = hex(id);
        self.0.insert(digest(&id), session.clone());
        (id, session)
    }

    /// The session of this id, which counts as used.
    pub(crate) fn find(&mut self, id: &str, now: i64) -> Option<Session> {
        let key = digest(id);
        let session = self.0.get_mut(&key)?;
        if session.is_over(now) {
            self.0.remove(&key);
            return None;
        }
        session.last = now;
        Some(session.clone())
    }

    /// Ends a session.
    pub(crate) fn end(&mut self, id: &str) {
        self.0.remove(&digest(id));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &mut Sessions, number: u8, now: i64) -> String {
        sessions.begin(&[number; 64], None, now).0
    }

    #[test]
    fn a_session_ends_after_an_hour_without_requests_and_after_twelve_in_any_case() {
        let mut sessions = Sessions::default();
        let id = begin(&mut sessions, 1, 0);
        assert!(sessions.find(&id, 3_599).is_some());
        assert!(sessions.find(&id, 7_198).is_some());
        assert!(sessions.find(&id, 10_798).is_none());
        let id = begin(&mut sessions, 1, 0);
        (0..43_200)
            .step_by(1_800)
            .for_each(|now| assert!(sessions.find(&id, now).is_some()));
        assert!(sessions.find(&id, 43_200).is_none());
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut sessions = Sessions::default();
        let ids: Vec<String> = (0..33)
            .map(|at| begin(&mut sessions, at, i64::from(at)))
            .collect();
        assert!(sessions.find(&ids[0], 40).is_none());
        assert!(ids[1..].iter().all(|id| sessions.find(id, 40).is_some()));
    }

    #[test]
    fn an_ended_session_is_unknown_and_ids_are_not_kept() {
        let mut sessions = Sessions::default();
        let (id, session) = sessions.begin(&[7; 64], None, 0);
        assert!(session.is_csrf(session.csrf()) && !session.is_csrf("") && !session.is_csrf(&id[1..]));
        assert!(!format!("{:?}", sessions.0.keys()).contains(&id));
        sessions.end(&id);
        assert!(sessions.find(&id, 0).is_none());
    }
}
