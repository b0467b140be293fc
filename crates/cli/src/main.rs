//! The program `keyctl`; everything is in the library, which the fuzz targets use as well.

use std::process::ExitCode;

fn main() -> ExitCode {
    key_authority_cli::main()
}
