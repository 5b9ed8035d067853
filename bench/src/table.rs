//! Tables with targets, as text and as JSON.

use serde_json::{Value, json};
use std::fmt::{self, Display, Formatter};

/// A table and what its figures should be.
pub(crate) struct Table {
    pub(crate) title: String,
    /// The first column is on the left, the others are figures and on the right.
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) targets: Vec<Target>,
}

/// What a figure should be at most.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) limit: f64,
    pub(crate) found: f64,
    pub(crate) unit: &'static str,
}

impl Target {
    pub(crate) fn new(what: &str, found: f64, limit: f64, unit: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            limit,
            found,
            unit,
        }
    }

    pub(crate) fn passes(&self) -> bool {
        self.found <= self.limit
    }

    fn number(&self, value: f64) -> String {
        match self.unit {
            "bytes" => format!("{value:.0} bytes"),
            unit => format!("{value:.2} {unit}"),
        }
    }
}

impl Table {
    pub(crate) fn passed(&self) -> usize {
        self.targets.iter().filter(|target| target.passes()).count()
    }

    pub(crate) fn json(&self) -> Value {
        let targets: Vec<_> = self
            .targets
            .iter()
            .map(|target| {
                json!({
                    "what": target.what,
                    "limit": target.limit,
                    "found": target.found,
                    "unit": target.unit,
                    "passes": target.passes(),
                })
            })
            .collect();
        json!({
            "title": self.title,
            "columns": self.columns,
            "rows": self.rows,
            "targets": targets,
        })
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([self.columns[column].chars().count()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |f: &mut Formatter<'_>, cells: &[&str]| {
            for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "  {cell:<width$}")?;
                } else {
                    write!(f, "  {cell:>width$}")?;
                }
            }
            writeln!(f)
        };
        writeln!(f, "{}", self.title)?;
        line(f, &self.columns)?;
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            line(f, &cells)?;
        }
        for target in &self.targets {
            write!(
                f,
                "\n  {}  {}: {}, at most {}",
                if target.passes() { "pass" } else { "MISS" },
                target.what,
                target.number(target.found),
                target.number(target.limit)
            )?;
        }
        Ok(())
    }
}
