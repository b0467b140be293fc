//! Compiles `proto/` for `crates/proto`, whose build script this is: with `protox`, so that no `protoc` need be installed.

use std::path::{Path, PathBuf};

/// Messages that carry a token in the clear, with what is declared in them. Their `Debug` is written by hand, so that no log
/// can show one.
const SECRET_BEARERS: [&str; 12] = [
    ".envoy.service.auth.v3.AttributeContext.HttpRequest",
    ".envoy.service.auth.v3.HeaderValue",
    ".keyauthority.v1.VerifyRequest",
    ".keyauthority.v1.CreateKeyResponse",
    ".keyauthority.v1.CreatePortalSessionResponse",
    ".keyauthority.v1.RenewKeyResponse",
    ".keyauthority.v1.RenewTokenRequest",
    ".keyauthority.v1.RenewTokenResponse",
    ".keyauthority.v1.RevokeTokenRequest",
    ".keyauthority.v1.RevealTokenResponse",
    ".keyauthority.v1.ImportedKey",
    ".keyauthority.v1.ConnectInstruction",
];

/// The folders of `proto/` that are compiled, each into a descriptor set of its own: what serves one of the services shows
/// that one by reflection.
const PACKAGES: [(&str, &str); 2] =
    [("keyauthority/v1", "keyauthority.bin"), ("envoy/service/auth/v3", "ext_authz.bin")];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());

    for (folder, descriptor_set) in PACKAGES {
        compile(root.as_path(), folder, descriptor_set)?;
    }
    Ok(())
}

fn compile(root: &Path, folder: &str, descriptor_set: &str) -> Result<(), Box<dyn std::error::Error>> {
    // Source information and imports stay in, so that reflection shows comments and options.
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files(&root.join(folder))?)?;
    let descriptor_set = PathBuf::from(std::env::var("OUT_DIR")?).join(descriptor_set);
    std::fs::write(&descriptor_set, compiler.encode_file_descriptor_set())?;

    // A program that shows messages as JSON looks their descriptors up by these.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        // Ordered maps encode in one way only: a request's bytes are its fingerprint.
        .btree_map(".")
        .skip_debug(SECRET_BEARERS)
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    Ok(files)
}
