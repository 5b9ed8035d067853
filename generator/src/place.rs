//! Where an argument of an old function is: in a flat parameter, or in memory behind one.
//!
//! A mapping names an argument by a path: a parameter, then `.field` for a field of a record and `.*`
//! for what a pointer points to. `result` is what the function gives beside its errno.

use crate::interface::{Function, Type, Width};
use anyhow::{Result, bail};

/// A number that can be read, or written where it lies in memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// The flat parameter with this index.
    Parameter(u32),
    /// A number in memory.
    Memory {
        /// Where the address comes from.
        base: Box<Place>,
        /// Added to the address, in bytes.
        offset: u32,
        /// Size of the number.
        width: Width,
    },
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Argument {
    /// The path, for people.
    pub path: String,
    /// Its type.
    pub ty: Type,
    location: Location,
}

#[derive(Clone, Debug)]
enum Location {
    /// The value is the flat parameter with this index (and the next, for a list).
    Flat(u32),
    /// The value lies in memory, this many bytes behind the address.
    Behind { base: Place, offset: u32 },
}

impl Argument {
    /// Follows `path` through the parameters of `function`.
    pub fn resolve(function: &Function, path: &str) -> Result<Argument> {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        let mut argument = start(function, first)?;
        for part in parts {
            argument = argument.step(part)?;
        }
        argument.path = path.to_string();
        Ok(argument)
    }

    fn step(self, part: &str) -> Result<Argument> {
        if part == "*" {
            let Type::Pointer(inner) = &self.ty else {
                bail!(
                    "`.*` follows a pointer, but {} is a {}",
                    self.path,
                    self.ty.describe()
                );
            };
            return Ok(Argument {
                path: format!("{}.*", self.path),
                ty: (**inner).clone(),
                location: Location::Behind {
                    base: self.number()?,
                    offset: 0,
                },
            });
        }
        let Type::Record(record) = &self.ty else {
            bail!(
                "`.{part}` follows a record, but {} is a {}",
                self.path,
                self.ty.describe()
            );
        };
        let Some(field) = record.fields.iter().find(|field| field.name == part) else {
            bail!(
                "{} has no field {part:?}: it is a {}",
                self.path,
                self.ty.describe()
            );
        };
        let location = match self.location {
            // A record is passed by pointer.
            Location::Flat(index) => Location::Behind {
                base: Place::Parameter(index),
                offset: field.offset,
            },
            Location::Behind { base, offset } => Location::Behind {
                base,
                offset: offset + field.offset,
            },
        };
        Ok(Argument {
            path: format!("{}.{part}", self.path),
            ty: field.ty.clone(),
            location,
        })
    }

    /// The place of a value that is one number.
    pub fn number(&self) -> Result<Place> {
        let width = match &self.ty {
            Type::Integer(width) | Type::Enum(_, width) => *width,
            Type::Handle(_) | Type::Pointer(_) => Width::Four,
            Type::List { .. } | Type::Record(_) => bail!(
                "expected {} to be one number, found a {}",
                self.path,
                self.ty.describe()
            ),
        };
        Ok(match &self.location {
            Location::Flat(index) => Place::Parameter(*index),
            Location::Behind { base, offset } => Place::Memory {
                base: Box::new(base.clone()),
                offset: *offset,
                width,
            },
        })
    }

    /// The places of a list's pointer and length.
    pub fn list(&self) -> Result<(Place, Place)> {
        if !matches!(self.ty, Type::List { .. }) {
            bail!(
                "expected {} to be a list, found a {}",
                self.path,
                self.ty.describe()
            );
        }
        Ok(match &self.location {
            Location::Flat(index) => (Place::Parameter(*index), Place::Parameter(index + 1)),
            Location::Behind { base, offset } => {
                let word = |offset| Place::Memory {
                    base: Box::new(base.clone()),
                    offset,
                    width: Width::Four,
                };
                (word(*offset), word(offset + 4))
            }
        })
    }
}

fn start(function: &Function, name: &str) -> Result<Argument> {
    let mut index = 0;
    for param in &function.params {
        if param.name == name {
            return Ok(Argument {
                path: name.to_string(),
                ty: param.ty.clone(),
                location: Location::Flat(index),
            });
        }
        index += u32::try_from(param.ty.flat_len())?;
    }
    match (&function.result, name) {
        (Some(ty), "result") => Ok(Argument {
            path: name.to_string(),
            ty: ty.clone(),
            location: Location::Behind {
                base: Place::Parameter(index),
                offset: 0,
            },
        }),
        _ => {
            let names: Vec<&str> = function.params.iter().map(|p| p.name.as_str()).collect();
            bail!(
                "{} has no parameter {name:?}: it has {}",
                function.name,
                names.join(", ")
            )
        }
    }
}
