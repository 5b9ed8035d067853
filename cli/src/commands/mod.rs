//! One file for each command.

pub(crate) mod adapter;
pub(crate) mod bundle;
pub(crate) mod chat;
pub(crate) mod check;
pub(crate) mod componentize;
pub(crate) mod compose;
pub(crate) mod configure;
pub(crate) mod devices;
pub(crate) mod inspect;
pub(crate) mod model;
pub(crate) mod run;
