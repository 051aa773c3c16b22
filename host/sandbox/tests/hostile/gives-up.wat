(data (i32.const 64) "the last\1b[2J words")
(func $prepare (param i32) (result i32)
  (call $say (i32.const 64) (i32.const 18))
  unreachable)
