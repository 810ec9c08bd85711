//! A Beam YAML file, run by Beam's own `apache_beam.yaml.main`.

use crate::endpoint;
use acceptance::child::Run;
use acceptance::{place, watchdog};
use anyhow::Result;
use anyhow::ensure;
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_beam_yaml_file_reads_filters_combines_and_writes() -> Result<()> {
    let folder = watchdog::folder("yaml")?;
    let input = folder.join("sales.csv");
    // amounts from 0 to 99 of three shops; those under 10 are not wanted
    let rows: String = (0..100).map(|n| format!("{},{n}\n", ["north", "south", "west"][n % 3])).collect();
    fs::write(&input, format!("shop,amount\n{rows}"))?;
    let variables = json!({"input": input, "output": folder.join("sums")});
    Run::python()?
        .args(["-m", "apache_beam.yaml.main", "--runner=PortableRunner", "--environment_type=LOOPBACK"])
        .arg(format!("--job_endpoint={}", endpoint()?))
        .arg(format!("--yaml_pipeline_file={}", place::file("tests/languages/yaml/sales.yaml").display()))
        .arg(format!("--jinja_variables={variables}"))
        .ok()?;
    let mut found: Vec<Value> = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("sums") {
            let text = fs::read_to_string(entry.path())?;
            found.extend(text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?);
        }
    }
    found.sort_by_key(|row| row["shop"].to_string());
    let row = |rest: usize, shop: &str| {
        let amounts: Vec<usize> = (10..100).filter(|n| n % 3 == rest).collect();
        json!({"shop": shop, "total": amounts.iter().sum::<usize>(), "sales": amounts.len()})
    };
    let wanted = vec![row(0, "NORTH"), row(1, "SOUTH"), row(2, "WEST")];
    ensure!(found == wanted, "{found:?} instead of {wanted:?}");
    Ok(())
}
