;; What every hostile hook shares: a memory with an allocator, the log, and functions of the contract that are in order.
;; A file beside this one defines what it does differently; whatever it does not define comes from the defaults.

;; Pages 0 and 1 hold texts and answers, from 131072 on memory is given out and never taken back.
(global $next (mut i32) (i32.const 131072))

(func $realloc (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
  (local $start i32)
  (local.set $start (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
  (global.set $next (i32.add (local.get $start) (local.get $size)))
  (block $enough
    (loop $grow
      (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size 0) (i32.const 65536))))
      (if (i32.eq (memory.grow 0 (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $grow)))
  (local.get $start))

;; A description named "evil", version "1.0.0", without anything else.
(data (i32.const 16) "evil1.0.0")
(func $describe-evil (result i32)
  (i32.store (i32.const 1024) (i32.const 16))
  (i32.store (i32.const 1028) (i32.const 4))
  (i32.store (i32.const 1032) (i32.const 20))
  (i32.store (i32.const 1036) (i32.const 5))
  (i32.const 1024))

;; An answer whose list or plan is empty: pages are zero in the beginning.
(func $empty-answer (result i32) (i32.const 4096))

;; Logs the text at an address.
(func $say (param $text i32) (param $length i32)
  (call $log (i32.const 1) (local.get $text) (local.get $length)))
