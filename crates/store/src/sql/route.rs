//! Routes in SQL.

use async_trait::async_trait;

use super::SqlStore;
use crate::error::StoreError;
use crate::route::RouteStore;

const PUT: &str = "INSERT INTO opm_routes (id, definition) VALUES (1, $1) \
     ON CONFLICT (id) DO UPDATE SET definition = excluded.definition";
const READ: &str = "SELECT definition FROM opm_routes WHERE id = 1";
const DELETE: &str = "DELETE FROM opm_routes WHERE id = 1";

#[async_trait]
impl RouteStore for SqlStore {
    async fn put_routes(&self, definition: &str) -> Result<(), StoreError> {
        let mut change = self.change("storing the routes").await?;
        change.execute(PUT, &[definition.into()]).await?;
        change.commit().await
    }

    async fn routes(&self) -> Result<Option<String>, StoreError> {
        let row = self.row("reading the routes", READ, &[]).await?;
        row.map(|row| row.get("definition")).transpose()
    }

    async fn delete_routes(&self) -> Result<(), StoreError> {
        let mut change = self.change("deleting the routes").await?;
        match change.execute(DELETE, &[]).await? {
            0 => Ok(()),
            _ => change.commit().await,
        }
    }
}
