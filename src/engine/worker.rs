//! Machines as the engine sees them: start one, talk to it, bury it.
//!
//! In: a library and requests. Out: replies; or, when the machine is gone, an error that says what
//! became of it and what it last said. Knows nothing of LLVM.
//!
//! The worker program's standard input is the socket; its standard output goes nowhere; its
//! standard error is a memfd, which never blocks the worker and can still be read after its death.
//! What LLVM prints there (`-time-passes`, `-print-after-all`) is passed on after each request, as
//! if LLVM were in the process of the linker.

#![allow(unsafe_code)]

use super::EngineConfig;
use super::locate::LibraryInfo;
use super::memory::{self, Bytes};
use super::protocol::{Answer, Reply, Request, VERSION};
use super::serve::{STACK, WORKER_ARGUMENT, serve};
use crate::error::{Error, Result};
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much of a dead worker's last words an error repeats, in bytes.
const TAIL: usize = 1000;

/// A conversation with one machine.
pub(super) struct Connection {
    socket: UnixStream,
    peer: Peer,
    /// Options may ask LLVM for reports (`-time-passes`) that it prints when its process exits.
    reports_at_exit: bool,
}

enum Peer {
    Process {
        child: Child,
        errors: File,
    },
    /// Joined when the conversation ends, so that this library may be unloaded; `None`: it sleeps
    /// for ever after a fatal error.
    Thread {
        handle: Option<JoinHandle<()>>,
    },
}

impl Connection {
    /// Starts a machine with this library. Also answers with the library's version.
    pub(super) fn start(
        config: &EngineConfig,
        library: &LibraryInfo,
    ) -> Result<(Connection, String)> {
        let program = if config.in_process { None } else { worker_program(config)? };
        let mut connection = match program {
            Some(program) => Self::start_process(&program)?,
            None => Self::start_thread()?,
        };
        let path = library.path.to_str().ok_or_else(|| {
            Error::unsupported("the path of this libLLVM is not UTF-8")
                .in_file(library.path.to_string_lossy())
        })?;
        let hello = Request::Hello {
            version: VERSION,
            library: path.to_string(),
            named: library.version,
            cl_opts: config.cl_opts.clone(),
        };
        match connection.call(&hello, None)?.0.result? {
            Answer::Loaded { version } => {
                connection.reports_at_exit = config.prints || !config.cl_opts.is_empty();
                Ok((connection, version))
            }
            other => Err(Error::engine(format!("the worker answered {other:?} to the greeting"))),
        }
    }

    fn start_thread() -> Result<Connection> {
        let (socket, theirs) = socket_pair()?;
        let handle = std::thread::Builder::new()
            .name("lto-engine".to_string())
            .stack_size(STACK)
            .spawn(move || {
                // An error here is one of the socket; the other end sees it closed.
                let _ = serve(&theirs, true);
            })
            .map_err(|error| Error::io("starting a thread for LLVM", &error))?;
        Ok(Connection {
            socket,
            peer: Peer::Thread { handle: Some(handle) },
            reports_at_exit: false,
        })
    }

    fn start_process(program: &Path) -> Result<Connection> {
        let failed = |error: io::Error| {
            Error::io("starting the worker program", &error).in_file(program.to_string_lossy())
        };
        let (socket, theirs) = socket_pair()?;
        let errors = memory::memfd(c"lto-worker-errors", 0)?;
        // Appending keeps the worker writing at the end after this side has emptied the file.
        // SAFETY: fcntl on a descriptor that we own.
        unsafe { libc::fcntl(errors.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
        let for_worker = errors.try_clone().map_err(failed)?;
        let child = Command::new(program)
            .arg(WORKER_ARGUMENT)
            .arg(std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(for_worker))
            .spawn()
            .map_err(failed)?;
        Ok(Connection { socket, peer: Peer::Process { child, errors }, reports_at_exit: false })
    }

    /// Asks and waits for the answer. An error means that the machine is gone.
    pub(super) fn call(
        &mut self,
        request: &Request,
        bulk: Option<&[u8]>,
    ) -> Result<(Reply, Option<Bytes>)> {
        match self.ask(request, bulk) {
            Ok(()) => self.answer(request),
            Err(error) => Err(self.post_mortem(request, Some(error))),
        }
    }

    /// Asks. An error means that the machine is gone, or going: there may still be answers.
    pub(super) fn ask(&mut self, request: &Request, bulk: Option<&[u8]>) -> Result<()> {
        debug_assert_eq!(request.has_bulk(), bulk.is_some());
        let bulk = bulk.map(memory::share).transpose()?;
        memory::send(&self.socket, &request.encode(), bulk.as_ref())
    }

    /// Waits for the answer to the first request that was asked and not answered, which is this
    /// one. An error means that the machine is gone.
    pub(super) fn answer(&mut self, request: &Request) -> Result<(Reply, Option<Bytes>)> {
        match memory::receive(&self.socket) {
            Ok(Some((body, bulk))) => {
                let reply = Reply::decode(&body)
                    .map_err(|error| error.context("the worker's answer makes no sense"))?;
                match &mut self.peer {
                    Peer::Process { errors, .. } => pass_on(errors),
                    Peer::Thread { handle } if reply.fatal => *handle = None,
                    Peer::Thread { .. } => {}
                }
                Ok((reply, bulk))
            }
            Ok(None) => Err(self.post_mortem(request, None)),
            Err(error) => Err(self.post_mortem(request, Some(error))),
        }
    }

    /// From now on [`Connection::peak_memory`] speaks of what comes. Without effect where the
    /// machine is a thread or the kernel does not serve it.
    pub(super) fn reset_peak_memory(&self) {
        if let Peer::Process { child, .. } = &self.peer {
            // proc(5): 5 sets the "high water mark" back to what is resident now.
            let _ = std::fs::write(format!("/proc/{}/clear_refs", child.id()), "5");
        }
    }

    /// The most memory that the machine's process had, in bytes.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let Peer::Process { child, .. } = &self.peer else { return None };
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Why there was no answer.
    pub(super) fn post_mortem(&mut self, request: &Request, cause: Option<Error>) -> Error {
        let doing = request.doing();
        let Peer::Process { child, errors } = &mut self.peer else {
            return match cause {
                Some(cause) => cause.context(format!("LLVM's thread ended while {doing}")),
                None => Error::engine(format!("LLVM's thread ended while {doing}")),
            };
        };
        // A worker that talks nonsense may still be alive.
        let misbehaved = cause.is_some() && matches!(child.try_wait(), Ok(None));
        if misbehaved {
            let _ = child.kill();
        }
        let fate = match child.wait() {
            _ if misbehaved => "broke the protocol".to_string(),
            Ok(status) => describe(status),
            // A host that ignores SIGCHLD, or waits for everybody's children.
            Err(_) => "ended".to_string(),
        };
        let mut message = format!("the lto-worker {fate} while {doing}");
        if let Some(cause) = cause.filter(|_| misbehaved) {
            message.push_str(": ");
            message.push_str(cause.message());
        }
        let text = read_all(errors);
        let tail = text.get(text.len().saturating_sub(TAIL)..).unwrap_or_default();
        let tail = String::from_utf8_lossy(tail);
        let tail: Vec<&str> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !tail.is_empty() {
            message.push_str("; it last said: ");
            message.push_str(&tail.join(" | "));
        }
        Error::engine(message)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match &mut self.peer {
            Peer::Process { child, errors } => {
                if self.reports_at_exit
                    && memory::send(&self.socket, &Request::Exit.encode(), None).is_ok()
                {
                    let deadline = Instant::now() + Duration::from_secs(5);
                    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    pass_on(errors);
                }
                // Otherwise it holds nothing that would need an orderly end.
                let _ = child.kill();
                let _ = child.wait();
            }
            Peer::Thread { handle } => {
                // It ends when it sees the socket closed.
                let _ = self.socket.shutdown(std::net::Shutdown::Both);
                if let Some(handle) = handle.take() {
                    let _ = handle.join();
                }
            }
        }
    }
}

/// Shows the user what LLVM printed, and forgets it.
fn pass_on(errors: &File) {
    let text = read_all(errors);
    if !text.is_empty() {
        let _ = errors.set_len(0);
        let _ = io::stderr().write_all(&text);
    }
}

fn describe(status: std::process::ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => match signal_name(signal) {
            Some(name) => format!("was killed by signal {signal} ({name})"),
            None => format!("was killed by signal {signal}"),
        },
        (None, Some(code)) => format!("exited with status {code}"),
        (None, None) => "ended".to_string(),
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        _ => return None,
    })
}

fn socket_pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().map_err(|error| Error::io("creating a socket for the worker", &error))
}

fn read_all(file: &File) -> Vec<u8> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = file.read_at(&mut buffer, text.len() as u64) {
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    text
}

/// The worker program; `None` where there is none and none was named.
pub(super) fn worker_program(config: &EngineConfig) -> Result<Option<PathBuf>> {
    if let Some(named) = &config.worker {
        return match named.is_file() {
            true => Ok(Some(named.clone())),
            false => Err(Error::engine("the worker program that LTO_WORKER names is not there")
                .in_file(named.to_string_lossy())),
        };
    }
    let Some(library) = own_path() else { return Ok(None) };
    // The name may be a link, as in the bfd-plugins folder; the real place counts first.
    let real = library.canonicalize().ok();
    let folders = real.iter().chain(Some(&library)).filter_map(|path| path.parent());
    for folder in folders {
        for place in [
            "lto-worker",
            // lib/libLTO.so, lib/<multiarch>/libLTO.so
            "../libexec/liblto/lto-worker",
            "../libexec/lto-worker",
            "../../libexec/liblto/lto-worker",
            // target/<profile>/deps, where cargo puts test programs
            "../lto-worker",
        ] {
            let program = folder.join(place);
            if program.is_file() {
                return Ok(Some(program));
            }
        }
    }
    Ok(None)
}

/// The file that this code was loaded from.
pub(super) fn own_path() -> Option<PathBuf> {
    // SAFETY: all-zero is a valid Dl_info; dladdr fills it for an address of ours, and its strings
    // live as long as the file is loaded.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(own_path as *const libc::c_void, &mut info) == 0 || info.dli_fname.is_null()
        {
            return None;
        }
        Some(PathBuf::from(OsStr::from_bytes(CStr::from_ptr(info.dli_fname).to_bytes())))
    }
}
