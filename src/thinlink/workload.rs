//! `-thinlto-workload-def`: what belongs together, by the user's word in place of the limits.
//!
//! In: a JSON object of root functions, each with the names of what its work calls. Out: for the
//! module of each root, the values to import. Source: `WorkloadImportsManager` in
//! FunctionImport.cpp. LLVM walks a set of pointers, so that the order of its imports is not
//! always the same; ours is that of the definition.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Result};
use crate::summary::{ModuleId, ModuleSummaryIndex, SummaryId, ValueId};

/// The roots with what they call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workloads {
    roots: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Workloads {
    /// Reads `{"root": ["function", ...], ...}`.
    ///
    /// # Errors
    /// Malformed, where it is something else; with the bit where it stops being right.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let mut json = Json { text: json, at: 0 };
        let mut roots = BTreeMap::new();
        json.list(b'{', b'}', |json| {
            let root = json.string()?;
            json.expect(b':')?;
            let mut callees = Vec::new();
            json.list(b'[', b']', |json| {
                callees.push(json.string()?);
                Ok(())
            })?;
            roots.insert(root, callees);
            Ok(())
        })?;
        match json.next() {
            None => Ok(Workloads { roots }),
            Some(_) => Err(json.wrong()),
        }
    }

    /// By the module that defines a root, all values that its roots' work calls. The index must
    /// have names. A root that is defined more than once is left out, as in LLVM; of several local
    /// functions of one name the one with the least GUID is meant.
    pub(super) fn by_module(&self, index: &ModuleSummaryIndex) -> HashMap<ModuleId, Vec<ValueId>> {
        let mut by_name: HashMap<&[u8], ValueId> = HashMap::new();
        for value in (0..index.guids().len() as u32).map(ValueId) {
            by_name.entry(index.name(value)).or_insert(value);
        }
        let mut modules: HashMap<ModuleId, Vec<ValueId>> = HashMap::new();
        for (root, callees) in &self.roots {
            let copies = by_name.get(root.as_slice()).map_or(&[][..], |&v| index.copies(v));
            let &[copy] = copies else { continue };
            let copy: SummaryId = copy;
            let Some(summary) = index.summary(copy) else { continue };
            let values = modules.entry(summary.module()).or_default();
            for value in callees.iter().filter_map(|name| by_name.get(name.as_slice())) {
                if !values.contains(value) {
                    values.push(*value);
                }
            }
        }
        modules
    }
}

/// As much of JSON as a workload definition has.
struct Json<'t> {
    text: &'t [u8],
    at: usize,
}

impl Json<'_> {
    /// The next byte that is not blank, which stays.
    fn next(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn wrong(&self) -> Error {
        Error::malformed(
            "Invalid thinlto contextual profile format: {\"root\": [\"function\"]} is expected",
        )
        .at_bit(self.at as u64 * 8)
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.next() != Some(byte) {
            return Err(self.wrong());
        }
        self.at += 1;
        Ok(())
    }

    /// Items between `open` and `close`, with commas.
    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.expect(open)?;
        if self.next() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.next() {
                Some(b',') => self.at += 1,
                _ => return self.expect(close),
            }
        }
    }

    fn string(&mut self) -> Result<Vec<u8>> {
        self.expect(b'"')?;
        let mut string = Vec::new();
        loop {
            let byte = self.text.get(self.at).copied().ok_or_else(|| self.wrong())?;
            self.at += 1;
            match byte {
                b'"' => return Ok(string),
                b'\\' => {
                    let escape = self.text.get(self.at).copied().ok_or_else(|| self.wrong())?;
                    self.at += 1;
                    string.push(match escape {
                        b'"' | b'\\' | b'/' => escape,
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        b'b' => 8,
                        b'f' => 12,
                        b'u' => {
                            let c = self.escaped_char().ok_or_else(|| self.wrong())?;
                            let mut bytes = [0; 4];
                            string.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
                            continue;
                        }
                        _ => return Err(self.wrong()),
                    });
                }
                0..0x20 => return Err(self.wrong()),
                byte => string.push(byte),
            }
        }
    }

    /// The four digits of `\uXXXX`, and of a second such where the first is half a character.
    fn escaped_char(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        (self.text.get(self.at..self.at + 2) == Some(b"\\u")).then_some(())?;
        self.at += 2;
        let second = self.four_digits()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at.checked_add(4)?)?;
        self.at += 4;
        digits.iter().try_fold(0, |n, &c| Some(n << 4 | char::from(c).to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Option<Vec<(String, Vec<String>)>> {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        let workloads = Workloads::parse(json.as_bytes()).ok()?;
        let roots = workloads.roots.iter();
        Some(roots.map(|(root, of)| (text(root), of.iter().map(text).collect())).collect())
    }

    #[test]
    fn definitions_are_objects_of_lists_of_names() {
        let expected = vec![
            ("a".to_owned(), vec!["b".to_owned(), "c".to_owned()]),
            ("x\"\u{e9}\u{1f600}".to_owned(), vec![]),
        ];
        let json = "{ \"x\\\"\\u00e9\\ud83d\\ude00\":[] ,\n \"a\":[\"b\" , \"c\"]}\n";
        assert_eq!(parse(json), Some(expected));
        assert_eq!(parse("{}"), Some(vec![]));
        for wrong in [
            "",
            "[]",
            "{",
            "{\"a\"}",
            "{\"a\":1}",
            "{\"a\":[1]}",
            "{\"a\":[\"b\",]}",
            "{} x",
            "{\"a\":[\"b]}",
            "{\"a\":[\"\\x\"]}",
            "{\"a\":[\"\\ud83d\"]}",
            "{\"a\":[\"\\u12\"]}",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
