//! What a `thin_link_t` stands for.
//!
//! In: files, and what a linker says of their symbols. Out: the files of a distributed build. The
//! files stay mapped from when they are added to when the link is disposed of.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::config::Config;
use crate::container::{self, Archive, FileBytes, MemberData};
use crate::distributed::{member_name, write_atomically};
use crate::error::{Error, Result};
use crate::registry::{Kind, Registry};
use crate::resolution::SymbolResolution;
use crate::session::Input;
use crate::session::index_only::{self, IndexOnly};
use crate::symbols::{InputFile, Symbol};

/// All thin links that C callers hold.
pub(super) static LINKS: Registry<ThinLink> = Registry::new(Kind::ThinLink);

/// Files on their way to indexes.
#[derive(Default)]
pub(super) struct ThinLink {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Vec<LinkFile>,
    /// The names of files that the linker does not need.
    unused: Vec<String>,
}

struct LinkFile {
    path: String,
    /// The archive member in it, for people.
    member: Option<String>,
    identifier: String,
    bytes: FileBytes,
    symbols: Vec<LinkSymbol>,
    resolutions: Vec<SymbolResolution>,
}

/// What C is told of a symbol. The strings stay where they are as long as the link lives.
pub(super) struct LinkSymbol {
    pub name: CString,
    pub comdat: Option<CString>,
    pub section: Option<CString>,
    pub flags: u32,
    pub visibility: u32,
    pub common_size: u64,
    pub common_align: u64,
}

/// Where the bytes of an input are.
pub(super) enum Place {
    /// The whole file.
    File,
    /// The member of an archive whose contents start at so many bytes.
    Member(u64),
}

impl ThinLink {
    /// Adds an input behind the others: its number, and how many symbols it has.
    pub fn add(&self, path: &Path, place: Place) -> Result<(usize, usize)> {
        let name = path.to_string_lossy().into_owned();
        let (bytes, member, identifier) = match place {
            Place::File => (FileBytes::open(path)?, None, name.clone()),
            Place::Member(offset) => {
                let (bytes, member) =
                    read_member(path, offset).map_err(|e| e.in_file(name.as_str()))?;
                let bitcode = container::find_bitcode(&bytes)
                    .and_then(InputFile::from_bitcode)
                    .map_err(|e| e.in_member(member.as_str()).in_file(name.as_str()))?;
                let identifier = member_name(&name, offset, bitcode.source_file_name());
                (bytes, Some(member), identifier)
            }
        };
        let symbols = symbols(&bytes).map_err(|e| e.in_file(identifier.as_str()))?;
        let count = symbols.len();
        let resolutions = vec![SymbolResolution::default(); count];
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.files.push(LinkFile { path: name, member, identifier, bytes, symbols, resolutions });
        Ok((state.files.len() - 1, count))
    }

    /// Notes a file that the linker was offered and does not need.
    pub fn add_unused(&self, name: String) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).unused.push(name);
    }

    /// Calls `f` with a symbol and what is said of it.
    pub fn symbol<T>(
        &self,
        input: usize,
        symbol: usize,
        f: impl FnOnce(&LinkSymbol, &mut SymbolResolution) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.files.len();
        let file = state.files.get_mut(input);
        let file = file.ok_or_else(|| super::fill::out_of_range(input, count, "input"))?;
        let count = file.symbols.len();
        match (file.symbols.get(symbol), file.resolutions.get_mut(symbol)) {
            (Some(symbol), Some(resolution)) => f(symbol, resolution),
            _ => Err(super::fill::out_of_range(symbol, count, "symbol")),
        }
    }

    /// Decides, and writes all files.
    pub fn write(
        &self,
        config: &Config,
        job: &IndexOnly,
        regular_object: Option<&Path>,
    ) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let inputs = state
            .files
            .iter()
            .map(|file| {
                Ok(Input {
                    identifier: file.identifier.clone(),
                    file: file.path.clone(),
                    member: file.member.clone(),
                    bitcode: container::find_bitcode(&file.bytes)?.bytes,
                    pages: Some(&file.bytes),
                    stamp: None,
                    resolutions: file.resolutions.clone(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let outcome = index_only::run(config, &inputs, &state.unused, job)?;
        match (regular_object, outcome.outputs.first()) {
            (Some(path), Some(output)) => write_atomically(path, &output.bytes),
            _ => Ok(()),
        }
    }
}

/// The member that starts at `offset` of the archive at `path`, and its name.
fn read_member(path: &Path, offset: u64) -> Result<(FileBytes, String)> {
    let archive = FileBytes::open(path)?;
    for member in Archive::parse(&archive)?.members() {
        let member = member?;
        if member.offset != offset {
            continue;
        }
        let name = String::from_utf8_lossy(member.name).into_owned();
        let MemberData::Here(bytes) = member.data else {
            return Err(Error::misuse(
                "a member of a thin archive is a file to add by its own path",
            )
            .in_member(name));
        };
        let file = File::open(path).map_err(|e| Error::io("cannot open", &e))?;
        return Ok((FileBytes::from_fd(file.as_raw_fd(), offset, Some(bytes.len() as u64))?, name));
    }
    Err(Error::misuse(format!("the archive has no member at {offset}")))
}

fn symbols(bytes: &[u8]) -> Result<Vec<LinkSymbol>> {
    use super::link_types::lto_thinlto_symbol_flags_t as Flag;
    let file = InputFile::open(bytes)?;
    let comdats: Vec<&[u8]> = file.comdats().map(|(name, _)| name).collect();
    let describe = |symbol: Symbol<'_>| LinkSymbol {
        name: c_string(symbol.name),
        comdat: symbol.comdat.and_then(|at| comdats.get(at as usize)).map(|name| c_string(name)),
        section: Some(symbol.section).filter(|name| !name.is_empty()).map(c_string),
        flags: [
            (symbol.is_undefined(), Flag::LTO_THINLTO_SYMBOL_UNDEFINED),
            (symbol.is_weak(), Flag::LTO_THINLTO_SYMBOL_WEAK),
            (symbol.is_common(), Flag::LTO_THINLTO_SYMBOL_COMMON),
            (symbol.is_indirect(), Flag::LTO_THINLTO_SYMBOL_INDIRECT),
            (symbol.is_tls(), Flag::LTO_THINLTO_SYMBOL_TLS),
            (symbol.is_executable(), Flag::LTO_THINLTO_SYMBOL_EXECUTABLE),
            (symbol.can_be_omitted(), Flag::LTO_THINLTO_SYMBOL_CAN_BE_OMITTED),
            (file.is_used(&symbol), Flag::LTO_THINLTO_SYMBOL_USED),
        ]
        .iter()
        .filter(|(on, _)| *on)
        .map(|&(_, flag)| flag as u32)
        .sum(),
        visibility: symbol.visibility() as u32,
        common_size: symbol.common_size.into(),
        common_align: symbol.common_align.into(),
    };
    Ok(file.symbols().map(describe).collect())
}

/// A string for C, up to the first NUL.
fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes.split(|&c| c == 0).next().unwrap_or(&[])).unwrap_or_default()
}
