//! One suite for every store: SQLite in a file, SQLite in memory, Postgres. A case gets an empty store of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod audits;
mod channels;
mod keys;
mod place;
mod postgres_server;
mod requests;
mod revisions;
mod secrets;
mod upgrade;
mod usage;
mod used;

use std::future::Future;
use std::pin::Pin;

use place::{Backend, Place};

/// A test of one empty store.
struct Case {
    name: &'static str,
    /// True if it opens the store more than once, which a store in memory does not allow.
    shared: bool,
    run: fn(Place) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

macro_rules! cases {
    ($list:ident, $shared:literal: $($module:ident: $($name:ident)*;)*) => {
        const $list: &[Case] = &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            shared: $shared,
            run: |place| Box::pin($module::$name(place)),
        },)*)*];
    };
}

cases! { ALONE, false:
    keys:
        a_key_reads_back_as_it_was_created
        keys_are_listed_oldest_first
        a_live_name_is_taken_and_free_again_after_revocation
        an_id_is_never_used_twice
        a_change_touches_only_what_it_names
        a_change_can_clear_what_was_set
        changing_an_unknown_or_revoked_key_says_so
        a_revoked_key_stays_listed_and_is_never_usable
        revoking_twice_keeps_the_first_time
        rotation_replaces_the_hash_and_nothing_else
        last_use_only_moves_forward
        hostile_text_is_only_text
        fifty_keys_are_created_at_once;
    channels:
        a_channel_reads_back_with_its_sealed_keys
        putting_a_channel_again_replaces_it_whole
        a_deleted_channel_takes_its_keys_and_its_state_along
        states_hold_for_channels_of_the_config_file_too
        routes_are_set_and_taken_back;
    audits:
        entries_come_newest_first_in_pages;
    revisions:
        the_revision_grows_with_every_change_that_gateways_must_see
        the_revision_stays_for_what_changes_nothing
        a_refused_change_leaves_no_trace
        a_dropped_call_leaves_the_whole_change_or_none;
    secrets:
        the_same_secrets_bind_again
        another_pepper_is_refused_while_keys_depend_on_it
        another_master_key_is_refused_while_provider_keys_depend_on_it;
    used:
        attempts_are_summed_by_caller_and_by_the_step_in_which_they_began
        what_failed_before_the_model_worked_is_no_request
        sums_count_at_their_end_and_what_may_have_been_used_unseen_is_added;
    usage:
        an_attempt_reads_back_and_is_summed
        every_outcome_reads_back_and_counts_once
        only_what_the_provider_bills_can_lack_a_price
        a_batch_given_twice_counts_once
        an_attempt_twice_in_one_batch_counts_once
        usage_is_summed_by_each_dimension_and_filtered_by_all
        usage_by_time_has_spans_that_begin_where_the_question_does
        budgets_take_the_cost_of_their_periods
        the_largest_numbers_fail_no_batch
        text_from_clients_never_fails_a_batch
        what_is_old_is_forgotten_and_the_rest_stays
        only_the_newest_are_kept_where_there_is_little_room;
    requests:
        requests_come_newest_first_and_their_attempts_when_asked_for
        pages_join_without_a_gap_or_a_repetition
        every_filter_selects_and_all_hold_together
        who_follows_gets_what_came_after_oldest_first
        a_page_is_bounded
        hostile_filters_are_only_text;
}

cases! { SHARED, true:
    revisions:
        a_change_of_one_handle_is_seen_by_the_other
        a_revocation_is_seen_by_the_other_handle
        two_handles_create_fifty_keys_at_once
        many_first_starts_do_not_race;
    usage:
        two_handles_record_the_same_sums_at_once;
    upgrade:
        tables_of_every_older_version_are_brought_up_to_date
        tables_of_a_newer_version_are_refused;
}

/// Runs all cases, also those after a failed one, and names those that failed.
async fn suite(backend: Backend<'_>) {
    let mut failed = Vec::new();
    let mut count = 0;
    for case in ALONE.iter().chain(SHARED) {
        if case.shared && matches!(backend, Backend::Memory) {
            continue;
        }
        count += 1;
        let place = backend.empty().await;
        if tokio::spawn((case.run)(place)).await.is_err() {
            failed.push(case.name);
        }
    }
    assert!(count >= ALONE.len());
    assert!(
        failed.is_empty(),
        "{} of {count} cases failed: {failed:#?}",
        failed.len()
    );
}

#[tokio::test]
async fn a_sqlite_file_is_a_store() {
    suite(Backend::File).await;
}

#[tokio::test]
async fn sqlite_in_memory_is_a_store() {
    suite(Backend::Memory).await;
}

#[tokio::test]
async fn postgres_is_a_store() {
    let server = postgres_server::Server::start().await;
    suite(Backend::Postgres(&server)).await;
}

#[tokio::test]
async fn a_store_outlives_a_restart_of_its_server() {
    let mut server = postgres_server::Server::start().await;
    let store = Backend::Postgres(&server).empty().await.open().await;
    store.create_key(keys::full("a", "one")).await.unwrap();
    let before = store.revision().await.unwrap();
    server.stop();
    let error = store.revision().await.unwrap_err();
    assert!(error.to_string().starts_with("reading the revision"), "{error}");
    server.start_again().await;
    assert_eq!(store.revision().await.unwrap(), before);
    store.revoke_key("a", 5).await.unwrap();
}
