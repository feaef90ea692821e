//! Routes set at run time: they stand in place of those of the config file.

use async_trait::async_trait;

use crate::error::StoreError;

/// Keeps the routes. Every change makes the revision grow.
#[async_trait]
pub trait RouteStore {
    /// Sets the routes: JSON text with the members of `routes` in the config file; not read here.
    async fn put_routes(&self, definition: &str) -> Result<(), StoreError>;

    /// The routes set at run time; `None`: those of the config file hold.
    async fn routes(&self) -> Result<Option<String>, StoreError>;

    /// Goes back to the routes of the config file. Without routes in the store it changes nothing and is no error.
    async fn delete_routes(&self) -> Result<(), StoreError>;
}
