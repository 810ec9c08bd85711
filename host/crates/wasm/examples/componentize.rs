//! Makes components of core modules: `componentize OUT_DIR MODULE...`. A module in text (`.wat`) is one of the hostile guests. What is
//! up to date is left alone.

#[path = "../tests/wasm/world.rs"]
mod world;

use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args_os().skip(1);
    let out = args.next().ok_or("usage: componentize OUT_DIR MODULE...")?;
    for module in args {
        let module = Path::new(&module);
        let mut component = Path::new(&out).join(module.file_name().ok_or("a module without a name")?);
        let bytes = if module.extension().is_some_and(|extension| extension == "wat") {
            let name = component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            component.set_file_name(format!("evil_{name}.wasm"));
            world::component(&evil::handmade::module(&fs::read_to_string(module)?), "0.2.9")?
        } else {
            thalweg_wasm::componentize(&fs::read(module)?)?
        };
        if fs::read(&component).ok().as_deref() != Some(bytes.as_slice()) {
            fs::write(&component, &bytes)?;
        }
        println!("{} {} KiB", component.display(), bytes.len().div_ceil(1024));
    }
    Ok(())
}
