//! Plots of the figures under load, as SVG.

use crate::load::Line;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (640, 400);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
];

/// Draws the three plots of docs/performance.md into a folder.
pub(crate) fn draw_all(
    folder: &Path,
    guests: &[Line],
    contexts: &[Line],
    sizes: &[Line],
) -> Result<()> {
    draw(
        &folder.join("load-guests.svg"),
        "Tokens per second of all guests together",
        ["guests", "tokens per second"],
        guests,
    )?;
    draw(
        &folder.join("load-contexts.svg"),
        "Time of one token",
        ["tokens in the context", "milliseconds"],
        contexts,
    )?;
    draw(
        &folder.join("load-tensors.svg"),
        "Time of one cycle of inference",
        ["KiB of the input", "microseconds"],
        sizes,
    )
}

/// Draws lines over an axis that counts in powers of two.
fn draw(path: &Path, title: &str, axes: [&str; 2], lines: &[Line]) -> Result<()> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let least = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
    let most = points().map(|(x, _)| x).fold(0.0, f64::max);
    let highest = points().map(|(_, y)| y).fold(0.0, f64::max) * 1.1;
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d((least..most).log_scale().base(2.0), 0.0..highest)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc(axes[0])
        .y_desc(axes[1])
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()
        .map_err(|error| failed(&error))?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let series =
            LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)).point_size(3);
        chart
            .draw_series(series)
            .map_err(|error| failed(&error))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}
