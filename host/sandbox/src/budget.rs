//! What a component takes while it runs, summed over everything that it consists of.
//!
//! The limiter that comes with the library limits each memory by itself; a component with a hundred of them would
//! get a hundred times as much.

use wasmtime::ResourceLimiter;

use crate::Limits;
use crate::error::Why;

/// Counts what all instances of one store have together.
#[derive(Debug)]
pub(crate) struct Budget {
    memory_bytes: usize,
    table_elements: usize,
    /// By how much the last growth that was allowed raised a count: taken back if the growth fails after all.
    pending_memory: usize,
    pending_table: usize,
    max_memory_bytes: usize,
    max_table_elements: usize,
    max_instances: usize,
    max_memories: usize,
    max_tables: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: 0,
            table_elements: 0,
            pending_memory: 0,
            pending_table: 0,
            max_memory_bytes: limits.memory_bytes,
            max_table_elements: limits.table_elements,
            max_instances: limits.instances,
            max_memories: limits.memories,
            max_tables: limits.tables,
        }
    }
}

/// The count after growing; `None` where it would be above `limit`.
fn grown(count: usize, current: usize, desired: usize, limit: usize) -> Option<usize> {
    count.checked_add(desired.saturating_sub(current)).filter(|count| *count <= limit)
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.pending_memory = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            // It fails by the rules of WebAssembly; nothing is taken.
            return Ok(false);
        }
        // A trap rather than a failed growth: languages report the latter in words of their own, or not at all.
        let Some(count) = grown(self.memory_bytes, current, desired, self.max_memory_bytes) else {
            return Err(wasmtime::Error::new(Why::Memory { limit: self.max_memory_bytes }));
        };
        self.pending_memory = count - self.memory_bytes;
        self.memory_bytes = count;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes -= std::mem::take(&mut self.pending_memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.pending_table = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let Some(count) = grown(self.table_elements, current, desired, self.max_table_elements) else {
            return Err(wasmtime::Error::new(Why::Tables { limit: self.max_table_elements }));
        };
        self.pending_table = count - self.table_elements;
        self.table_elements = count;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements -= std::mem::take(&mut self.pending_table);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.max_instances
    }

    fn tables(&self) -> usize {
        self.max_tables
    }

    fn memories(&self) -> usize {
        self.max_memories
    }
}
