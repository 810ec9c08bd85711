//! Beam's own list of standard coders, spec by spec: every example is decoded and encoded byte for byte, in each context
//! it is given for, and put through the coders of the product that meet such bytes on a worker's wire.
//!
//! In: `standard_coders.yaml` of the installed `apache_beam`. Source: that file's own heading, and Beam's test of it.

mod codec;
mod product;
mod row;
mod spec;

use anyhow::{Context as _, Result, ensure};
use codec::{decode, encode};
use spec::{Example, Section};
use std::collections::BTreeMap;

fn encoded(section: &Section, value: &serde_json::Value, nested: bool) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    encode(&section.coder, value, nested, &mut out)?;
    Ok(out)
}

/// One example in one context.
fn check(section: &Section, example: &Example, nested: bool) -> Result<()> {
    let wanted = encoded(section, &example.value, nested)?;
    if !section.coder.non_deterministic {
        ensure!(wanted == example.bytes, "{:?} is encoded as {wanted:?}", example.value);
    }
    let (found, rest) = decode(&section.coder, &example.bytes, nested)?;
    ensure!(rest.is_empty(), "{} bytes were left over", rest.len());
    // two encodings are equal only if the values are
    ensure!(encoded(section, &found, nested)? == wanted, "it is decoded as {found:?}");
    product::check(&section.coder, example, &encoded(section, &example.value, true)?, nested)
}

#[test]
fn every_example_of_every_standard_coder_is_read_and_written_byte_for_byte() -> Result<()> {
    let sections = spec::read()?;
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, section) in sections.iter().enumerate() {
        for example in &section.examples {
            for nested in section.nested.map_or_else(|| vec![true, false], |one| vec![one]) {
                check(section, example, nested).with_context(|| {
                    let (urn, bytes) = (&section.coder.urn, &example.bytes);
                    format!("section {number}, {urn}, nested {nested}, example {bytes:?} = {}", example.value)
                })?;
                *checked.entry(section.coder.urn.as_str()).or_default() += 1;
            }
        }
    }
    for urn in spec::STANDARD {
        ensure!(checked.contains_key(urn), "Beam's file has no example of {urn}");
    }
    println!("{} sections, examples in a context: {checked:?}", sections.len());
    Ok(())
}

#[test]
fn no_standard_coder_of_the_file_is_one_that_this_test_does_not_know() -> Result<()> {
    for section in spec::read()? {
        ensure!(spec::STANDARD.contains(&section.coder.urn.as_str()), "{} is new", section.coder.urn);
    }
    Ok(())
}
