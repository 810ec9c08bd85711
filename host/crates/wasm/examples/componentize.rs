//! Makes components of core modules: `componentize OUT_DIR MODULE.wasm...`. What is up to date is left alone.

use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args_os().skip(1);
    let out = args.next().ok_or("usage: componentize OUT_DIR MODULE.wasm...")?;
    for module in args {
        let module = Path::new(&module);
        let component = Path::new(&out).join(module.file_name().ok_or("a module without a name")?);
        let bytes = thalweg_wasm::componentize(&fs::read(module)?)?;
        if fs::read(&component).ok().as_deref() != Some(bytes.as_slice()) {
            fs::write(&component, &bytes)?;
        }
        println!("{} {} KiB", component.display(), bytes.len().div_ceil(1024));
    }
    Ok(())
}
