;; 1500 lines of 9000 letters each.
(func $prepare (param i32) (result i32)
  (local $count i32)
  (memory.fill 0 (i32.const 40000) (i32.const 120) (i32.const 9000))
  (loop $more
    (call $say (i32.const 40000) (i32.const 9000))
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $count) (i32.const 1500))))
  (call $empty-answer))
