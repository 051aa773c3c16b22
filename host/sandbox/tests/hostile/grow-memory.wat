;; Page by page until it fails. What fails is reported by giving up, as languages do.
(func $prepare (param i32) (result i32)
  (loop $more
    (if (i32.eq (memory.grow 0 (i32.const 16)) (i32.const -1)) (then unreachable))
    (br $more))
  unreachable)
