;; 5000 lines of 20 000 letters each.
(func $prepare (param i32) (result i32)
  (local $count i32)
  (memory.fill 0 (i32.const 40000) (i32.const 120) (i32.const 20000))
  (loop $more
    (call $say (i32.const 40000) (i32.const 20000))
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $count) (i32.const 5000))))
  (call $empty-answer))
