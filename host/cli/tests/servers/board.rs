//! A hook whose service gives a variable to other servers: the component is made here, from its answers.
//!
//! Its answers are always the same, so they lie in its memory from the beginning, laid out as the canonical ABI of the
//! component model says; its functions return where.

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the answers lie. Before that there is nothing but zeros: empty lists, and `done`.
const ANSWERS: usize = 4096;

/// A memory that is filled from the back of what is there already.
struct Memory(Vec<u8>);

impl Memory {
    /// Puts bytes behind all others; where.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = self.0.len();
        self.0.extend_from_slice(bytes);
        u32::try_from(at).expect("a small memory")
    }

    /// A text, as pointer and length.
    fn text(&mut self, text: &str) -> Vec<u8> {
        let at = self.put(text.as_bytes());
        pair(at, text.len())
    }

    /// A list of items that are laid out already, as pointer and length.
    fn list(&mut self, items: &[Vec<u8>]) -> Vec<u8> {
        let at = self.put(&items.concat());
        pair(at, items.len())
    }

    fn texts(&mut self, texts: &[&str]) -> Vec<u8> {
        let items: Vec<_> = texts.iter().map(|text| self.text(text)).collect();
        self.list(&items)
    }

    /// Names with values.
    fn pairs(&mut self, pairs: &[(&str, &str)]) -> Vec<u8> {
        let items: Vec<_> = pairs.iter().map(|(name, value)| [self.text(name), self.text(value)].concat()).collect();
        self.list(&items)
    }
}

fn pair(at: u32, length: usize) -> Vec<u8> {
    [word(at), word(u32::try_from(length).expect("a small list"))].concat()
}

fn word(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// No items.
fn none() -> Vec<u8> {
    vec![0; 8]
}

/// What `describe` answers: a service that runs node, asks for its servers, and gives `BOARD_URL`.
fn description(memory: &mut Memory) -> u32 {
    let [name, version, summary] = ["board", "1.0.0", "A board for notes"].map(|text| memory.text(text));
    let facts = memory.texts(&["host", "hosts"]);
    let program = [memory.text("node"), word(0)].concat();
    let programs = memory.list(&[program]);
    let gives = memory.texts(&["BOARD_URL"]);
    // The fourth kind of option is texts; a variant with a 64-bit case is aligned to eight bytes.
    let option = [memory.text("gives"), word(3), word(0), gives].concat();
    let options = memory.list(&[option]);
    let powers = [none(), none(), programs, none(), none(), none()].concat();
    let all = [name, version, summary, none(), none(), none(), facts, powers, options].concat();
    memory.put(&all)
}

/// What `prepare-deploy` answers: one process, and how it is reached.
fn plan(memory: &mut Memory) -> u32 {
    let argv = memory.texts(&["node", "{source}/board.js"]);
    let env = memory.pairs(&[("PORT", "{port:http}"), ("AT", "{host}")]);
    let ports = memory.texts(&["http"]);
    // The second kind of health is an open port.
    let health = [word(1), memory.text("http"), word(0), word(0)].concat();
    let process = [
        memory.text("board"),
        argv,
        env,
        none(),
        ports,
        health,
        word(30_000),
        word(5_000),
        word(0),
        word(1),
        word(1),
        word(1),
        none(),
    ]
    .concat();
    let processes = memory.list(&[process]);
    let values = memory.pairs(&[("BOARD_URL", "http://{host}:{port:http}/")]);
    let all = [word(0), none(), none(), none(), none(), processes, none(), values, none(), none(), none()].concat();
    memory.put(&all)
}

/// The component.
pub(crate) fn component() -> Vec<u8> {
    let mut memory = Memory(vec![0; ANSWERS]);
    let (description, plan) = (description(&mut memory), plan(&mut memory));
    let data: String = memory.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let name = "jecloud:hook/service@0.1.0#";
    let text = format!(
        "(module (memory (export \"memory\") 2) (data (i32.const 0) \"{data}\")
         (global $next (mut i32) (i32.const 65536))
         (func (export \"cabi_realloc\") (param i32 i32 i32) (param $size i32) (result i32)
           (local $start i32)
           (local.set $start (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
           (global.set $next (i32.add (local.get $start) (local.get $size)))
           (block $enough (loop $grow
             (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
             (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
             (br $grow)))
           (local.get $start))
         (func (export \"{name}describe\") (result i32) (i32.const {description}))
         (func (export \"{name}required-packages\") (param i32) (result i32) (i32.const 16))
         (func (export \"{name}prepare-deploy\") (param i32) (result i32) (i32.const {plan}))
         (func (export \"{name}deployed\") (param i32) (result i32) (i32.const 16)))"
    );
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut contract = Resolve::default();
    contract.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).unwrap_or_else(|error| panic!("{error:#}"));
    let (world, _) = contract.worlds.iter().find(|(_, world)| world.name == "hook").expect("the world of a hook");
    embed_component_metadata(&mut module, &contract, world, StringEncoding::UTF8).expect("metadata");
    module
}
