//! The engine component on this project's host, called as an app would call it.

mod chat;
pub(crate) mod host;
mod ranges;
mod requests;
mod templates;
