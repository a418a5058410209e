//! What the engine and its machine say to each other.
//!
//! In: a [`Request`] or [`Reply`]. Out: its bytes, and back. How they travel is `memory`'s matter,
//! what they do `machine`'s. Bitcode and objects are not part of these bytes: they travel beside
//! them in shared memory (the *bulk* of a message).
//!
//! The first request is always `Hello`. Both ends must be of the same [`VERSION`]; the two are
//! built and installed together, so there is no negotiation.

mod values;

use self::values::{get_edit, get_linkage, get_target, get_visibility, put_edit, put_target};
use super::wire::{Reader, Writer, unknown};
use super::{
    Diagnostic, Edit, FileType, GlobalInfo, GlobalKind, PassOptions, Severity, TargetConfig,
    TypePass, Version,
};
use crate::config::RemarkOptions;
use crate::error::{Error, ErrorKind, Result};

/// Raised by every change of a message.
pub(super) const VERSION: u32 = 12;

/// One step of a machine. The variants with *bulk* come with bitcode beside them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// Load this libLLVM with these options.
    Hello { version: u32, library: String, named: Version, cl_opts: Vec<String> },
    /// Whether contexts made from now on keep the names of values, until the next `Reset`.
    KeepValueNames { keep: bool },
    /// Which remarks contexts made from now on write, until the next `Reset`.
    Remarks { options: RemarkOptions },
    /// Answer with the remarks written so far as bulk.
    TakeRemarks,
    /// Start from an empty module.
    NewModule { identifier: String },
    /// Bulk: parse it; it becomes the module.
    Load { identifier: String },
    /// Bulk: parse it and link it into the module.
    Link { identifier: String },
    /// Bulk: parse it and merge it into the module: definitions of these names, and what they need.
    Merge { identifier: String, keep: Vec<String> },
    /// What code is generated for.
    SetTarget { config: TargetConfig },
    /// Change the module.
    Edit { edits: Vec<Edit> },
    /// Verify the module; invalid debug info is stripped with a warning.
    Verify,
    /// Internalize all definitions but these.
    Internalize { preserve: Vec<String> },
    /// Run a textual pass pipeline.
    Passes { pipeline: String, options: PassOptions },
    /// Bulk: resolutions of type identifiers, as YAML; do type tests and virtual calls by them.
    ResolveTypes,
    /// Bulk: summaries, as YAML; run a pass over the module that finds resolutions, and answer with
    /// these as bulk, as YAML.
    ExportTypes { pass: TypePass },
    /// Bulk: the part of the combined index that the module needs; clone its functions by that.
    CloneForMemProf,
    /// Answer with bitcode as bulk.
    WriteBitcode,
    /// Put the module's bitcode into it, and an empty command line where that is said.
    EmbedBitcode { command_line: bool },
    /// Answer with the bitcode of so many parts of the module as bulk, which consumes it.
    Split { count: u32 },
    /// Answer with machine code as bulk.
    Emit { file_type: FileType },
    /// List the global values.
    Globals,
    /// Forget module, target and context.
    Reset,
    /// End in good order, without an answer.
    Exit,
}

impl Request {
    /// What the machine is doing while it works on this, for an error message.
    pub(super) fn doing(&self) -> &'static str {
        match self {
            Request::Hello { .. } => "loading libLLVM",
            Request::KeepValueNames { .. } | Request::Remarks { .. } => "setting up",
            Request::TakeRemarks => "writing remarks",
            Request::NewModule { .. } => "creating a module",
            Request::Load { .. } => "reading a module",
            Request::Link { .. } | Request::Merge { .. } => "linking a module",
            Request::SetTarget { .. } => "setting the target",
            Request::Edit { .. } => "changing the module",
            Request::Verify => "verifying the module",
            Request::Internalize { .. } => "internalizing",
            Request::Passes { .. } => "optimizing",
            Request::ResolveTypes | Request::ExportTypes { .. } => "resolving type tests",
            Request::CloneForMemProf => "cloning functions",
            Request::WriteBitcode => "writing bitcode",
            Request::EmbedBitcode { .. } => "embedding bitcode",
            Request::Split { .. } => "splitting the module",
            Request::Emit { .. } => "generating code",
            Request::Globals => "listing symbols",
            Request::Reset => "starting anew",
            Request::Exit => "ending",
        }
    }

    /// Whether bitcode travels beside it.
    pub(super) fn has_bulk(&self) -> bool {
        matches!(
            self,
            Request::Load { .. }
                | Request::Link { .. }
                | Request::Merge { .. }
                | Request::ResolveTypes
                | Request::CloneForMemProf
                | Request::ExportTypes { .. }
        )
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Request::Hello { version, library, named, cl_opts } => {
                w.u8(0);
                w.u32(*version);
                w.str(library);
                w.u32(named.major);
                w.u32(named.minor);
                w.u32(named.patch);
                w.list(cl_opts, |w, option| w.str(option));
            }
            Request::NewModule { identifier } => {
                w.u8(1);
                w.str(identifier);
            }
            Request::Load { identifier } => {
                w.u8(2);
                w.str(identifier);
            }
            Request::Link { identifier } => {
                w.u8(3);
                w.str(identifier);
            }
            Request::SetTarget { config } => {
                w.u8(4);
                put_target(&mut w, config);
            }
            Request::Edit { edits } => {
                w.u8(5);
                w.list(edits, put_edit);
            }
            Request::Verify => w.u8(6),
            Request::Internalize { preserve } => {
                w.u8(7);
                w.list(preserve, |w, name| w.str(name));
            }
            Request::Passes { pipeline, options } => {
                w.u8(8);
                w.str(pipeline);
                // Destructured, so that a new field cannot be forgotten here.
                let PassOptions {
                    loop_vectorization,
                    slp_vectorization,
                    debug_logging,
                    verify_each,
                    merge_functions,
                    freestanding,
                    aa_pipeline,
                } = options;
                w.opt(aa_pipeline.as_deref(), Writer::str);
                w.bool(*loop_vectorization);
                w.bool(*slp_vectorization);
                w.bool(*debug_logging);
                w.bool(*verify_each);
                w.bool(*merge_functions);
                w.bool(*freestanding);
            }
            Request::WriteBitcode => w.u8(9),
            Request::Emit { file_type } => {
                w.u8(10);
                w.u8(*file_type as u8);
            }
            Request::Globals => w.u8(11),
            Request::Reset => w.u8(12),
            Request::Exit => w.u8(13),
            Request::KeepValueNames { keep } => {
                w.u8(14);
                w.bool(*keep);
            }
            Request::Remarks { options } => {
                let RemarkOptions { passes, format, with_hotness, hotness_threshold } = options;
                w.u8(17);
                w.str(passes);
                w.str(format);
                w.bool(*with_hotness);
                w.opt(*hotness_threshold, |w, threshold| w.u64(threshold));
            }
            Request::TakeRemarks => w.u8(18),
            Request::Merge { identifier, keep } => {
                w.u8(15);
                w.str(identifier);
                w.list(keep, |w, name| w.str(name));
            }
            Request::ResolveTypes => w.u8(16),
            Request::CloneForMemProf => w.u8(22),
            Request::EmbedBitcode { command_line } => {
                w.u8(19);
                w.bool(*command_line);
            }
            Request::Split { count } => {
                w.u8(20);
                w.u32(*count);
            }
            Request::ExportTypes { pass } => {
                w.u8(21);
                w.u8(*pass as u8);
            }
        }
        w.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Request> {
        let mut r = Reader(bytes);
        let request = match r.u8()? {
            0 => {
                let version = r.u32()?;
                if version != VERSION {
                    // The rest may be laid out in any way.
                    return Err(Error::engine(format!(
                        "the library speaks version {version} of the worker protocol, the worker \
                         version {VERSION}: install them together"
                    )));
                }
                Request::Hello {
                    version,
                    library: r.str()?,
                    named: Version { major: r.u32()?, minor: r.u32()?, patch: r.u32()? },
                    cl_opts: r.list(Reader::str)?,
                }
            }
            1 => Request::NewModule { identifier: r.str()? },
            2 => Request::Load { identifier: r.str()? },
            3 => Request::Link { identifier: r.str()? },
            4 => Request::SetTarget { config: get_target(&mut r)? },
            5 => Request::Edit { edits: r.list(get_edit)? },
            6 => Request::Verify,
            7 => Request::Internalize { preserve: r.list(Reader::str)? },
            8 => Request::Passes {
                pipeline: r.str()?,
                options: PassOptions {
                    aa_pipeline: r.opt(Reader::str)?,
                    loop_vectorization: r.bool()?,
                    slp_vectorization: r.bool()?,
                    debug_logging: r.bool()?,
                    verify_each: r.bool()?,
                    merge_functions: r.bool()?,
                    freestanding: r.bool()?,
                },
            },
            9 => Request::WriteBitcode,
            10 => Request::Emit {
                file_type: match r.u8()? {
                    0 => FileType::Assembly,
                    1 => FileType::Object,
                    other => return Err(unknown("file type", other)),
                },
            },
            11 => Request::Globals,
            12 => Request::Reset,
            13 => Request::Exit,
            14 => Request::KeepValueNames { keep: r.bool()? },
            17 => Request::Remarks {
                options: RemarkOptions {
                    passes: r.str()?,
                    format: r.str()?,
                    with_hotness: r.bool()?,
                    hotness_threshold: r.opt(Reader::u64)?,
                },
            },
            18 => Request::TakeRemarks,
            15 => Request::Merge { identifier: r.str()?, keep: r.list(Reader::str)? },
            16 => Request::ResolveTypes,
            22 => Request::CloneForMemProf,
            19 => Request::EmbedBitcode { command_line: r.bool()? },
            20 => Request::Split { count: r.u32()? },
            21 => Request::ExportTypes {
                pass: match r.u8()? {
                    0 => TypePass::WholeProgramDevirt,
                    1 => TypePass::LowerTypeTests,
                    other => return Err(unknown("pass", other)),
                },
            },
            other => return Err(unknown("request", other)),
        };
        r.end()?;
        Ok(request)
    }
}

/// What a machine answers when it could do what was asked; objects and bitcode come as bulk.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Done,
    /// To `Hello`: what was loaded.
    Loaded {
        version: String,
    },
    /// To `Globals`.
    Globals(Vec<GlobalInfo>),
}

/// The answer to a request, with what LLVM said meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) result: Result<Answer>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// LLVM's state can no longer be trusted (it reported a fatal error): the machine must not be
    /// used again.
    pub(super) fatal: bool,
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bool(self.fatal);
        w.list(&self.diagnostics, |w, d| {
            w.u8(d.severity as u8);
            w.str(&d.text);
            w.str(&d.module);
        });
        match &self.result {
            Ok(Answer::Done) => w.u8(0),
            Ok(Answer::Loaded { version }) => {
                w.u8(1);
                w.str(version);
            }
            Ok(Answer::Globals(globals)) => {
                w.u8(2);
                w.list(globals, |w, g| {
                    w.str(&g.name);
                    w.u8(g.kind as u8);
                    w.u8(g.linkage as u8);
                    w.u8(g.visibility as u8);
                    w.bool(g.is_declaration);
                    w.bool(g.aliases_function);
                });
            }
            Err(error) => {
                w.u8(255);
                w.u8(match error.kind() {
                    ErrorKind::Malformed => 0,
                    ErrorKind::Unsupported => 1,
                    ErrorKind::Io => 2,
                    ErrorKind::Engine => 3,
                    ErrorKind::Misuse => 4,
                });
                w.str(error.message());
                w.opt(error.file(), Writer::str);
                w.opt(error.member(), Writer::str);
            }
        }
        w.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Reply> {
        let mut r = Reader(bytes);
        let fatal = r.bool()?;
        let diagnostics = r.list(|r| {
            Ok(Diagnostic {
                severity: match r.u8()? {
                    0 => Severity::Error,
                    1 => Severity::Warning,
                    2 => Severity::Remark,
                    3 => Severity::Note,
                    other => return Err(unknown("severity", other)),
                },
                text: r.str()?,
                module: r.str()?,
            })
        })?;
        let result = match r.u8()? {
            0 => Ok(Answer::Done),
            1 => Ok(Answer::Loaded { version: r.str()? }),
            2 => Ok(Answer::Globals(r.list(|r| {
                Ok(GlobalInfo {
                    name: r.str()?,
                    kind: match r.u8()? {
                        0 => GlobalKind::Function,
                        1 => GlobalKind::Variable,
                        2 => GlobalKind::Alias,
                        3 => GlobalKind::IFunc,
                        other => return Err(unknown("kind of global", other)),
                    },
                    linkage: get_linkage(r)?,
                    visibility: get_visibility(r)?,
                    is_declaration: r.bool()?,
                    aliases_function: r.bool()?,
                })
            })?)),
            255 => {
                let kind = match r.u8()? {
                    0 => ErrorKind::Malformed,
                    1 => ErrorKind::Unsupported,
                    2 => ErrorKind::Io,
                    3 => ErrorKind::Engine,
                    4 => ErrorKind::Misuse,
                    other => return Err(unknown("kind of error", other)),
                };
                let mut error = Error::new(kind, r.str()?);
                if let Some(file) = r.opt(Reader::str)? {
                    error = error.in_file(file);
                }
                if let Some(member) = r.opt(Reader::str)? {
                    error = error.in_member(member);
                }
                Err(error)
            }
            other => return Err(unknown("answer", other)),
        };
        r.end()?;
        Ok(Reply { result, diagnostics, fatal })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CodeModel, DebuggerTuning, Linkage, RelocModel, Visibility};
    use super::*;
    use crate::ir::UnnamedAddr;

    fn requests() -> Vec<Request> {
        let name = || "f\u{e9}".to_string();
        vec![
            Request::Hello {
                version: VERSION,
                library: "/usr/lib/libLLVM.so".into(),
                named: Version { major: 22, minor: 1, patch: 8 },
                cl_opts: vec!["-a".into(), String::new()],
            },
            Request::KeepValueNames { keep: true },
            Request::Remarks {
                options: RemarkOptions {
                    passes: "inline".into(),
                    hotness_threshold: Some(u64::MAX),
                    ..RemarkOptions::default()
                },
            },
            Request::TakeRemarks,
            Request::NewModule { identifier: name() },
            Request::Load { identifier: name() },
            Request::Link { identifier: name() },
            Request::Merge { identifier: name(), keep: vec![name(), String::new()] },
            Request::SetTarget { config: TargetConfig::default() },
            Request::SetTarget {
                config: TargetConfig {
                    triple: Some(name()),
                    default_triple: Some(name()),
                    reloc: Some(RelocModel::Pic),
                    code_model: Some(CodeModel::Large),
                    debugger_tuning: Some(DebuggerTuning::Dbx),
                    ..TargetConfig::default()
                },
            },
            Request::Edit {
                edits: vec![
                    Edit::SetLinkage { name: name(), linkage: Linkage::WeakOdr },
                    Edit::SetVisibility { name: name(), visibility: Visibility::Hidden },
                    Edit::AddFnAttr { name: name(), attr: "norecurse".into() },
                    Edit::SetAside { names: vec![name()] },
                    Edit::Supersede { names: vec![name()] },
                    Edit::SetIdentifier { identifier: name() },
                    Edit::SetSourceFileName { name: name() },
                    Edit::AppendToCompilerUsed { names: vec![name()] },
                    Edit::ResizeCommon { name: name(), size: 4, align: 16 },
                    Edit::EraseUnused { names: vec![name()] },
                    Edit::ZeroInitializer { name: name() },
                    Edit::ClearMetadata { name: name() },
                    Edit::SetUnnamedAddr { name: name(), unnamed_addr: UnnamedAddr::Global },
                    Edit::SetTriple { triple: name() },
                    Edit::ResolvePublicTypeTests { whole_program: true },
                    Edit::AssumeTypeTests,
                    Edit::StripMemProf,
                    Edit::UpgradeVcallVisibility { except: vec![name()] },
                    Edit::SetSource { name: name(), module: "m".into(), file: "f".into() },
                ],
            },
            Request::Verify,
            Request::Internalize { preserve: vec![name()] },
            Request::Passes { pipeline: "lto<O2>".into(), options: PassOptions::at_level(2) },
            Request::ResolveTypes,
            Request::CloneForMemProf,
            Request::EmbedBitcode { command_line: true },
            Request::Split { count: 3 },
            Request::ExportTypes { pass: TypePass::LowerTypeTests },
            Request::WriteBitcode,
            Request::Emit { file_type: FileType::Object },
            Request::Globals,
            Request::Reset,
            Request::Exit,
        ]
    }

    #[test]
    fn every_request_survives_and_every_prefix_of_it_is_an_error() {
        for request in requests() {
            let bytes = request.encode();
            assert_eq!(Request::decode(&bytes).unwrap(), request);
            for end in 0..bytes.len() {
                assert!(Request::decode(&bytes[..end]).is_err(), "{request:?} cut at {end}");
            }
        }
    }

    #[test]
    fn no_damaged_byte_makes_decoding_panic() {
        for request in requests() {
            let bytes = request.encode();
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] = value;
                    let _ = Request::decode(&damaged);
                    let _ = Reply::decode(&damaged);
                }
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut hello = requests().swap_remove(0);
        if let Request::Hello { version, .. } = &mut hello {
            *version = VERSION + 1;
        }
        let error = Request::decode(&hello.encode()).unwrap_err();
        let said = format!("speaks version {}", VERSION + 1);
        assert!(error.message().contains(&said), "{error}");
    }

    #[test]
    fn errors_keep_their_kind_and_place() {
        let reply = Reply {
            result: Err(Error::malformed("cut").in_file("a.o").in_member("b")),
            diagnostics: vec![Diagnostic {
                severity: Severity::Note,
                text: "t".into(),
                module: "m".into(),
            }],
            fatal: true,
        };
        let back = Reply::decode(&reply.encode()).unwrap();
        assert!(back.fatal);
        assert_eq!(back.diagnostics, reply.diagnostics);
        let error = back.result.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Malformed, "a.o(b): cut".into()));
    }
}
