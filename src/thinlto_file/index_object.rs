//! What a `thin_lto_t` stands for.
//!
//! In: bytes of files, and other indexes to merge. Out: a [`ModuleSummaryIndex`], and strings that
//! live as long as the object.
//!
//! Merging is put off: what is merged waits as a part, and all parts become one index when it is
//! first looked at. Merging n modules one by one costs as much as merging them at once.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::{CString, c_char};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::container::{FileBytes, wrap_in_object};
use crate::distributed::write_atomically;
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::registry::{Kind, Registry};
use crate::summary::{
    IndexPart, LazyIndex, ModuleSummaryIndex, ReadOptions, WriteOptions, read_index,
};

/// All indexes that C callers hold.
pub(super) static INDEXES: Registry<ThinIndex> = Registry::new(Kind::ThinIndex);

/// An index and what is still to be merged into it.
#[derive(Default)]
pub struct ThinIndex {
    state: RwLock<State>,
    /// Strings that C callers were given.
    strings: Mutex<HashMap<Box<[u8]>, CString>>,
    /// The file, of an index that is read one function at a time.
    lazy: Option<Lazy>,
    /// Whether a lazy index has been read whole.
    whole: Mutex<bool>,
}

/// A file whose functions are read one at a time, and the path it goes by.
struct Lazy {
    index: LazyIndex<FileBytes>,
    path: Box<[u8]>,
}

#[derive(Default)]
struct State {
    index: Arc<ModuleSummaryIndex>,
    pending: Vec<IndexPart>,
    /// The paths of all modules, those of `pending` included.
    paths: HashSet<Box<[u8]>>,
    /// Why the parts could not become one index.
    failure: Option<Error>,
}

impl From<ModuleSummaryIndex> for State {
    fn from(index: ModuleSummaryIndex) -> Self {
        let paths = index.modules().iter().map(|module| module.path.clone()).collect();
        State { index: Arc::new(index), paths, ..State::default() }
    }
}

impl From<ModuleSummaryIndex> for ThinIndex {
    fn from(index: ModuleSummaryIndex) -> Self {
        ThinIndex { state: RwLock::new(State::from(index)), ..ThinIndex::default() }
    }
}

impl ThinIndex {
    /// The index in the file at `path`, in any container.
    ///
    /// # Errors
    /// Io, and as [`read_index`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(&FileBytes::open(path)?, path.as_os_str().as_encoded_bytes())
    }

    /// The index in `bytes`, in any container. `path` names the module of a module's own summary.
    ///
    /// # Errors
    /// As [`read_index`].
    pub fn read(bytes: &[u8], path: &[u8]) -> Result<Self> {
        read_index(bytes, path, &ReadOptions::EVERYTHING).map(Self::from)
    }

    /// The index in the file at `path`, of which only the table of functions is read now. The
    /// file stays mapped.
    ///
    /// # Errors
    /// Io, and as [`LazyIndex::new`].
    pub fn open_lazily(path: &Path) -> Result<Self> {
        let name = path.as_os_str().as_encoded_bytes();
        let index = LazyIndex::new(FileBytes::open(path)?, name)?;
        Ok(ThinIndex { lazy: Some(Lazy { index, path: name.into() }), ..ThinIndex::default() })
    }

    /// The summaries of one function or variable, by its name, in an index of their own.
    ///
    /// # Errors
    /// Misuse where there are none, and where this index is not lazy; malformed where its records
    /// are.
    pub fn read_function(&self, name: &[u8]) -> Result<Self> {
        let Some(lazy) = &self.lazy else {
            return Err(Error::misuse("the index was not created lazily: all of it is read"));
        };
        let in_file = |error: Error| error.in_file(String::from_utf8_lossy(&lazy.path));
        match lazy.index.read_function(name).map_err(in_file)? {
            Some(index) => Ok(Self::from(index)),
            None => {
                let name = String::from_utf8_lossy(name);
                Err(in_file(Error::misuse(format!("there is no summary of {name}"))))
            }
        }
    }

    /// As [`ThinIndex::read_function`], by GUID.
    ///
    /// # Errors
    /// As [`ThinIndex::read_function`].
    pub fn read_guid(&self, guid: Guid) -> Result<Self> {
        let Some(lazy) = &self.lazy else {
            return Err(Error::misuse("the index was not created lazily: all of it is read"));
        };
        let in_file = |error: Error| error.in_file(String::from_utf8_lossy(&lazy.path));
        match lazy.index.read(guid).map_err(in_file)? {
            Some(index) => Ok(Self::from(index)),
            None => Err(in_file(Error::misuse(format!("there is no summary of {}", guid.0)))),
        }
    }

    /// The index, with all that was merged into it. A lazy one is read whole now.
    ///
    /// # Errors
    /// Unsupported where there is more than one index can hold.
    pub fn index(&self) -> Result<Arc<ModuleSummaryIndex>> {
        self.read_rest()?;
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if state.pending.is_empty() {
                return Ok(Arc::clone(&state.index));
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        // Another thread may have been here between the two locks.
        if !state.pending.is_empty() && state.failure.is_none() {
            let old = std::mem::take(&mut state.index);
            let pending = std::mem::take(&mut state.pending);
            let old =
                (!old.modules().is_empty()).then(|| IndexPart::from(Arc::unwrap_or_clone(old)));
            match ModuleSummaryIndex::combine(old.into_iter().chain(pending).collect()) {
                Ok(index) => state.index = Arc::new(index),
                Err(error) => state.failure = Some(error),
            }
        }
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(Arc::clone(&state.index)),
        }
    }

    /// Reads all of a lazy index, once.
    fn read_rest(&self) -> Result<()> {
        let Some(lazy) = &self.lazy else { return Ok(()) };
        let mut done = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if !*done {
            let bytes = lazy.index.bytes();
            let index = read_index(bytes, &lazy.path, &ReadOptions::EVERYTHING)?;
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            *state = State::from(index);
            *done = true;
        }
        Ok(())
    }

    /// Adds the modules of another index behind those that are here. Of a function that several
    /// modules define, each keeps its summary.
    ///
    /// # Errors
    /// Misuse where a module of that path is here already; this index is then unchanged.
    pub fn merge(&self, other: &ModuleSummaryIndex) -> Result<()> {
        self.read_rest()?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let known = other.modules().iter().find(|module| state.paths.contains(&*module.path));
        if let Some(module) = known {
            let path = String::from_utf8_lossy(&module.path);
            return Err(Error::misuse(format!("the index has a module {path} already")));
        }
        state.paths.extend(other.modules().iter().map(|module| module.path.clone()));
        state.pending.push(IndexPart::from(other.clone()));
        Ok(())
    }

    /// Whether this is a combined index: read as one, or merged into.
    ///
    /// # Errors
    /// As [`ThinIndex::index`].
    pub fn is_combined(&self) -> Result<bool> {
        Ok(self.index()?.is_combined())
    }

    /// The file with this index as a combined one: bitcode, or with a triple a native object
    /// around it.
    ///
    /// # Errors
    /// As [`ThinIndex::index`] and [`wrap_in_object`].
    pub fn to_file(&self, triple: Option<&str>, options: &WriteOptions) -> Result<Vec<u8>> {
        let bitcode = self.index()?.to_bitcode(options);
        match triple {
            None => Ok(bitcode),
            Some(triple) => wrap_in_object(&bitcode, triple),
        }
    }

    /// Writes what [`ThinIndex::to_file`] makes, whole or not at all.
    ///
    /// # Errors
    /// As [`ThinIndex::to_file`], and io.
    pub fn write(&self, path: &Path, triple: Option<&str>, options: &WriteOptions) -> Result<()> {
        write_atomically(path, &self.to_file(triple, options)?)
    }

    /// `bytes` as a C string that lives as long as this object. It ends at a NUL among them.
    pub(super) fn string(&self, bytes: &[u8]) -> *const c_char {
        let mut strings = self.strings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = strings.get(bytes) {
            return known.as_ptr();
        }
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let string = CString::new(bytes.get(..end).unwrap_or_default()).unwrap_or_default();
        // The characters of a CString are on the heap and stay where they are when it moves.
        let pointer = string.as_ptr();
        strings.insert(bytes.into(), string);
        pointer
    }
}
