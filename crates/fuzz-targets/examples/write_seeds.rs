//! Writes the seeds of every target to `fuzz/corpus`, one file each, named by their place in the list, and the
//! dictionaries to `fuzz/dictionaries`. A test says when they differ from what the targets make.

use std::fs;
use std::path::Path;

use key_authority_fuzz_targets::TARGETS;

fn main() -> std::io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let dictionaries = fuzz.join("dictionaries");
    fs::create_dir_all(&dictionaries)?;
    for target in TARGETS {
        fs::write(dictionaries.join(format!("{}.dict", target.name)), target.dictionary_file())?;
        let folder = fuzz.join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in target.seeds().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
