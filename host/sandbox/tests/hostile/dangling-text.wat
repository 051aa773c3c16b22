;; A message that lies beyond the end of the memory.
(func $prepare (param i32) (result i32)
  (i32.store (i32.const 4096) (i32.const 1))
  (i32.store (i32.const 4100) (i32.const -64))
  (i32.store (i32.const 4104) (i32.const 32))
  (i32.const 4096))
