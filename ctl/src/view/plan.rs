//! Jobs that would be made, in one line each.

use crate::view::style::Style;
use crate::view::table::{Cell, draw};
use crate::view::text::{command, visible};
use fetchml_api::job::JobSpec;

/// Jobs with the variables of the sweep that they come from.
pub(crate) fn table(
    specs: &[JobSpec],
    names: &[&str],
    width: Option<usize>,
    style: Style,
) -> String {
    let mut header = vec!["NAME"];
    header.extend(names);
    header.push("COMMAND");
    let rows: Vec<Vec<Cell>> = specs
        .iter()
        .map(|spec| {
            let values = names.iter().map(|name| spec.env.get(*name).map_or("-", String::as_str));
            let mut row: Vec<Cell> = vec![visible(&spec.name).into()];
            row.extend(values.map(|value| Cell::from(visible(value))));
            row.push(command(&spec.command).into());
            row
        })
        .collect();
    draw(&header, &rows, width, style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::array::Expansion;

    #[test]
    fn each_job_shows_its_values_and_its_command() {
        let sweep = vec![("lr".to_owned(), vec!["0.1".to_owned(), "0.01".to_owned()])];
        let all = Expansion::read(None, sweep, 10).expect("small");
        let common = JobSpec::plain(vec!["train".into(), "{lr}".into()]);
        let specs = all.specs(&common, 1000).expect("small");
        assert_eq!(
            table(&specs, &["lr"], None, Style { colour: false }),
            "NAME      lr    COMMAND\n\
             train[1]  0.1   train 0.1\n\
             train[2]  0.01  train 0.01\n"
        );
    }
}
