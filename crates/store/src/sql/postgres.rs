//! Connecting to Postgres.

use std::io;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;

use super::Pool;
use crate::error::StoreError;
use crate::location::Server;

/// Connections of one gateway at most: it works from memory, so a few suffice and many gateways stay below the server's 100.
const CONNECTIONS: u32 = 8;
/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(8);
/// Set on each connection rather than at its start, which connection poolers refuse. Shorter than the limit of a call, so that the
/// server ends what nobody waits for any more.
const SETTINGS: &str =
    "SET statement_timeout = '8s'; SET lock_timeout = '8s'; SET idle_in_transaction_session_timeout = '30s'";

/// Connects, so that a wrong password or address is told at once.
pub(super) async fn connect(server: &Server) -> Result<Pool, StoreError> {
    let options = (*server.0).clone().application_name("opm");
    try_out(&options).await.map_err(|source| StoreError::Open {
        what: server.to_string(),
        hint: "check that the server runs, the address, the user, the password and that the database exists",
        source: Box::new(source),
    })?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SETTINGS).await.map(|_| ()) })
        })
        .connect_lazy_with(options);
    Ok(Pool::Postgres(pool))
}

/// One connection past the pool, which would try again until its patience ends and then hide the reason.
async fn try_out(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    match timeout(PATIENCE, PgConnection::connect_with(options)).await {
        Ok(connection) => connection?.close().await,
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
    }
}
