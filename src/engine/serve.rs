//! The machine's side of the conversation, in a thread or in the worker program.
//!
//! In: a socket. Out: replies on it, until the other side is gone. Knows requests only as far as
//! it takes to get a [`Machine`] going.
//!
//! LLVM's fatal errors end here. Its handler must not return, and LLVM's frames cannot be unwound;
//! so the handler itself sends the reply that is due, and then the worker program exits and a
//! thread sleeps for ever, all signals blocked. The other side never uses that machine again.

#![allow(unsafe_code)]

use super::api::Api;
use super::clopt;
use super::diagnostics::Diagnostics;
use super::machine::Machine;
use super::memory::{receive, send, share};
use super::protocol::{Answer, Reply, Request};
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The worker program's one argument, which tells a start by us from one by a curious person.
pub(super) const WORKER_ARGUMENT: &str = "--serve-on-stdin";

/// Deep recursion over IR is normal in LLVM; linkers call us on stacks of 2 MiB.
pub(super) const STACK: usize = 64 << 20;

/// What the fatal error handler needs of the thread that it is called in.
struct Conversation {
    socket: UnixStream,
    diagnostics: Diagnostics,
    in_process: bool,
}

thread_local! {
    static CONVERSATION: RefCell<Option<Conversation>> = const { RefCell::new(None) };
}

/// Serves one engine until it is gone.
pub(super) fn serve(socket: &UnixStream, in_process: bool) -> Result<()> {
    let diagnostics = Diagnostics::default();
    let for_handler =
        socket.try_clone().map_err(|error| Error::io("duplicating the worker's socket", &error))?;
    CONVERSATION.with(|conversation| {
        *conversation.borrow_mut() = Some(Conversation {
            socket: for_handler,
            diagnostics: diagnostics.clone(),
            in_process,
        });
    });
    let result = converse(socket, in_process, &diagnostics);
    CONVERSATION.with(|conversation| conversation.borrow_mut().take());
    result
}

fn converse(socket: &UnixStream, in_process: bool, diagnostics: &Diagnostics) -> Result<()> {
    let mut machine: Option<Machine> = None;
    while let Some((body, bulk)) = receive(socket)? {
        diagnostics.borrow_mut().clear();
        let mut bytes = None;
        let request = Request::decode(&body);
        if matches!(request, Ok(Request::Exit)) {
            if let (Some(machine), false) = (machine, in_process) {
                machine.shut_down();
            }
            return Ok(());
        }
        let result = request.and_then(|request| match (&request, &mut machine) {
            (Request::Hello { library, named, cl_opts, .. }, None) => {
                let named = (named.major, named.minor, named.patch);
                if in_process {
                    stay_loaded();
                }
                let api = load(Path::new(library), named)?;
                clopt::apply(&api, cl_opts)?;
                let (major, minor, patch) = api.version;
                let remarks = cl_opts.iter().any(|option| option.contains("pass-remarks"));
                machine = Some(Machine::new(api, remarks, diagnostics.clone()));
                Ok(Answer::Loaded { version: format!("{major}.{minor}.{patch}") })
            }
            (_, None) => Err(Error::engine("the first request was not a greeting")),
            (request, Some(machine)) => machine.run(request, bulk.as_deref(), |result| {
                // LLVM's buffer is gone when this returns.
                bytes = Some(share(result)?);
                Ok(())
            }),
        });
        if result.is_err() {
            bytes = None;
        }
        let reply =
            Reply { result, diagnostics: diagnostics.borrow_mut().split_off(0), fatal: false };
        send(socket, &reply.encode(), bytes.as_ref())?;
    }
    Ok(())
}

/// Loads a library once in this process.
fn load(path: &Path, named: (u32, u32, u32)) -> Result<Arc<Api>> {
    static LOADED: Mutex<Vec<(PathBuf, Arc<Api>)>> = Mutex::new(Vec::new());
    let mut loaded = LOADED.lock();
    if let Some((_, api)) = loaded.iter().find(|(known, _)| known == path) {
        return Ok(api.clone());
    }
    let api = Arc::new(Api::load(path, named)?);
    // SAFETY: a handler of the type that LLVM wants, which does not return. This is our private
    // copy of libLLVM unless the host has the same file loaded; then a fatal error in the host's
    // own use finds no conversation in its thread, and ends the process as LLVM would.
    unsafe { (api.f.LLVMInstallFatalErrorHandler)(Some(fatal_error)) };
    loaded.push((path.to_path_buf(), api.clone()));
    Ok(api)
}

/// Keeps this library mapped until the process ends: libLLVM, which is never unloaded, is about to
/// keep pointers to functions of ours.
fn stay_loaded() {
    use std::os::unix::ffi::OsStrExt;
    let path = super::worker::own_path();
    let Some(path) = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()) else {
        return;
    };
    // SAFETY: a C string. Nothing is loaded that is not there; where this code is part of a
    // program, which cannot be unloaded anyway, the call fails and changes nothing.
    unsafe {
        libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
    }
}

/// LLVM's `report_fatal_error`.
unsafe extern "C" fn fatal_error(reason: *const c_char) {
    let reason = if reason.is_null() {
        String::new()
    } else {
        // SAFETY: LLVM passes a C string.
        unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned()
    };
    let in_process = CONVERSATION.with(|conversation| {
        let conversation = conversation.try_borrow().ok()?;
        let conversation = conversation.as_ref()?;
        let diagnostics = conversation.diagnostics.try_borrow().map(|list| list.clone());
        let reply = Reply {
            result: Err(Error::engine(format!("LLVM ERROR: {reason}"))),
            diagnostics: diagnostics.unwrap_or_default(),
            fatal: true,
        };
        // If the other side is gone there is no one left to tell.
        let _ = send(&conversation.socket, &reply.encode(), None);
        Some(conversation.in_process)
    });
    match in_process {
        Some(true) => sleep_for_ever(),
        // SAFETY: ends the worker program, without anything that LLVM registered.
        Some(false) => unsafe { libc::_exit(1) },
        None => {
            eprintln!("LLVM ERROR: {reason}");
            // SAFETY: what LLVM does itself where no handler is installed.
            unsafe { libc::abort() }
        }
    }
}

/// Never returns: LLVM's frames below cannot be unwound, and code after a fatal error must not
/// run. With all signals blocked the thread wakes no more, so that it does not even matter if this
/// library is unmapped.
fn sleep_for_ever() -> ! {
    // SAFETY: blocks signals of this thread and waits.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        loop {
            libc::pause();
        }
    }
}

/// The worker program: serves the socket that is its standard input. Returns its exit status.
pub fn worker_main() -> i32 {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(WORKER_ARGUMENT) {
        eprintln!("lto-worker is started by libLTO.so, which runs LLVM in it; it has no options.");
        return 2;
    }
    let parent = arguments.next().and_then(|pid| pid.parse::<i32>().ok()).unwrap_or(0);
    let Some(socket) = isolate(parent) else {
        eprintln!("lto-worker: standard input is not a socket of libLTO.so");
        return 2;
    };
    let watched = socket.as_raw_fd();
    std::thread::spawn(move || die_with_parent(watched));
    let served = std::thread::Builder::new()
        .name("llvm".to_string())
        .stack_size(STACK)
        .spawn(move || serve(&socket, false));
    match served.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => 0,
        Ok(Ok(Err(error))) => {
            eprintln!("lto-worker: {error}");
            1
        }
        Ok(Err(_)) => 101,
        Err(error) => {
            eprintln!("lto-worker: no thread: {error}");
            1
        }
    }
}

/// Cuts what ties the worker to its surroundings: takes the socket from standard input, closes
/// every inherited descriptor, ignores Ctrl-C (the linker decides what it means; when it dies, so
/// does the worker), leaves no core file.
fn isolate(parent: i32) -> Option<UnixStream> {
    // SAFETY: plain system calls at the start of a program with one thread, on descriptors that
    // nothing in this program owns yet.
    unsafe {
        let mut kind: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        let is_socket =
            libc::getsockopt(0, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &mut len)
                == 0;
        if !is_socket {
            return None;
        }
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) != 0 {
            // Before Linux 5.9.
            let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 65536);
            for fd in 3..most {
                libc::close(fd as libc::c_int);
            }
        }
        let socket = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3);
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if socket < 0 || null < 0 {
            return None;
        }
        // Nothing that LLVM prints may end up on the linker's standard output.
        libc::dup2(null, 0);
        libc::dup2(null, 1);
        libc::close(null);
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGQUIT, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &no_core);
        // The kernel sends this signal when the *thread* that started us ends, so the handler
        // looks whether the process did.
        PARENT.store(parent, std::sync::atomic::Ordering::Relaxed);
        libc::signal(libc::SIGUSR2, parent_thread_ended as *const () as libc::sighandler_t);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR2);
        if parent != 0 && libc::getppid() != parent {
            libc::_exit(1);
        }
        Some(UnixStream::from_raw_fd(socket))
    }
}

static PARENT: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn parent_thread_ended(_: libc::c_int) {
    let parent = PARENT.load(std::sync::atomic::Ordering::Relaxed);
    // SAFETY: both calls are allowed in a signal handler.
    unsafe {
        if parent != 0 && libc::getppid() != parent {
            libc::_exit(1);
        }
    }
}

/// Waits until the other end of the socket is closed, by whatever death, and exits: the thread
/// that runs LLVM would notice only when its work is done.
fn die_with_parent(socket: RawFd) {
    loop {
        let mut poll = libc::pollfd { fd: socket, events: 0, revents: 0 };
        // SAFETY: one pollfd. The descriptor lives as long as the process.
        unsafe {
            if libc::poll(&mut poll, 1, -1) > 0 && poll.revents != 0 {
                libc::_exit(1);
            }
        }
    }
}
