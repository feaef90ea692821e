//! Wire types of the chat format.
