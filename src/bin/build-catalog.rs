//! Makes `src/catalog/table.bin` of `data/operations.tsv` and the corrections, and prints its size.

fn main() -> std::process::ExitCode {
    tool::main()
}

#[cfg(target_arch = "wasm32")]
mod tool {
    pub(super) fn main() -> std::process::ExitCode {
        std::process::ExitCode::FAILURE
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod tool {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::ExitCode;

    pub(super) fn main() -> ExitCode {
        match run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "could not make the table: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn run() -> Result<(), Box<dyn std::error::Error>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tsv = std::fs::read_to_string(root.join("data/operations.tsv"))?;
        let (table, sizes) = zonekeeper::catalog::build::build(&tsv)?;
        std::fs::write(root.join("src/catalog/table.bin"), &table)?;
        let mut out = std::io::stdout().lock();
        for (section, bytes) in sizes {
            writeln!(out, "{section:<18}{bytes:>8} bytes")?;
        }
        writeln!(out, "{:<18}{:>8} bytes", "table.bin", table.len())?;
        Ok(())
    }
}
