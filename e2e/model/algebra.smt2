; The permission algebra, of one question and one row.
;
; Everything that decides works row by row, so one row stands for all. A condition is true, false or unknown for it. Of
; the values that rules force, only their difference matters: so there is one field, with two values. An answer says
; under which forced values the row is admitted: bit 0 without one, bit 1 with the value 0, bit 2 with 1. #b000 is a
; denial.
;
; Bounds: lists of two rules; three roles, of which later ones may inherit earlier ones; a chain of a token, its parent
; and the owner's boundary. algebra_test.go states the laws, breaks lines that end in a name in brackets, and compares the
; definitions with what latchkey answers.

(declare-datatypes ((Truth 0)) (((yes) (no) (unknown))))
(declare-datatypes ((Verb 0)) (((absent) (allow) (grant) (deny)))) ; absent: the rule is about another question
(declare-datatypes ((Force 0)) (((free) (zero) (one))))
(declare-datatypes ((Rule 0)) (((rule (verb Verb) (on Truth) (forced Force)))))
(declare-datatypes ((Role 0)) (((role (first Rule) (second Rule) (denies Bool) (bounded Bool) (bound1 Rule) (bound2 Rule)))))
(declare-datatypes ((Roles 0)) (((roles (a Role) (b Role) (c Role) (b-a Bool) (c-a Bool) (c-b Bool)))))
(declare-datatypes ((Layer 0)) (((layer (full Bool) (has-a Bool) (has-b Bool) (has-c Bool) (own1 Rule) (own2 Rule)
  (rows Truth) (writes Force)))))
(define-sort Answer () (_ BitVec 3))

(define-fun none () Answer #b000)
(define-fun all () Answer #b001)
(define-fun single ((f Force)) Answer (ite (= f free) #b001 (ite (= f zero) #b010 #b100)))
(define-fun within ((x Answer) (y Answer)) Bool (= (bvor x y) y))
(define-fun admits ((x Answer)) Bool (distinct x none))

; An Allow replaces, a Grant adds, and a Deny removes, where its condition is unknown too.
(define-fun removes ((r Rule)) Bool
  (and (= (verb r) deny) (distinct (on r) no))) ; [a deny removes what it does not know]
(define-fun apply ((r Rule) (x Answer)) Answer
  (ite (= (verb r) absent) x
  (ite (= (verb r) allow) (ite (= (on r) yes) (single (forced r)) none) ; [an allow replaces]
  (ite (= (verb r) grant) (ite (= (on r) yes) (bvor x (single (forced r))) x)
  (ite (removes r) none x)))))
(define-fun apply2 ((r Rule) (s Rule) (x Answer)) Answer (apply s (apply r x)))

; Two answers meet in the pairs of their grants that agree about what is forced.
(define-fun meet ((x Answer) (y Answer)) Answer
  (bvor
    (bvand x y)
    (ite (distinct (bvand x #b001) none) y none) ; x forces nothing: what y forces
    (ite (distinct (bvand y #b001) none) x none)
    none)) ; [values that differ do not meet]

; What a role gives: its rules applied to the union of what it inherits, then the Denies of these once more, if it says so.
(define-fun role-denies ((r Role)) Bool (or (removes (first r)) (removes (second r))))
(define-fun gives-a ((g Roles)) Answer (apply2 (first (a g)) (second (a g)) none))
(define-fun gives-b ((g Roles)) Answer
  (ite (and (denies (b g)) (b-a g) (role-denies (a g))) none
    (apply2 (first (b g)) (second (b g)) (ite (b-a g) (gives-a g) none))))
(define-fun c-above-a ((g Roles)) Bool (or (c-a g) (and (c-b g) (b-a g)))) ; [inherited through another role]
(define-fun gives-c ((g Roles)) Answer
  (ite (and (denies (c g)) (or (and (c-above-a g) (role-denies (a g))) (and (c-b g) (role-denies (b g))))) none
    (apply2 (first (c g)) (second (c g))
      (bvor (ite (c-a g) (gives-a g) none) (ite (c-b g) (gives-b g) none)))))

; A role with a boundary gives what a boundary lets through: its own, or that of a role that it inherits.
(define-fun free-of ((r Rule)) Rule (rule (verb r) (on r) free)) ; boundaries force nothing
(define-fun through ((r Role)) Answer
  (ite (bounded r) (apply2 (free-of (bound1 r)) (free-of (bound2 r)) none) none))
(define-fun bound-a ((g Roles)) Answer (ite (bounded (a g)) (through (a g)) all)) ; [a boundary bounds]
(define-fun bound-b ((g Roles)) Answer
  (ite (bounded (b g)) (bvor (through (b g)) (ite (b-a g) (through (a g)) none)) all))
(define-fun bound-c ((g Roles)) Answer
  (ite (bounded (c g))
    (bvor (through (c g)) (ite (c-b g) (through (b g)) none) (ite (c-above-a g) (through (a g)) none)) all))

; A layer is its rules applied to the union of its roles, within its rows, with its own forced values.
(define-fun roles-of ((l Layer) (g Roles)) Answer
  (ite (full l) all
    (bvor (ite (has-a l) (meet (gives-a g) (bound-a g)) none)
          (ite (has-b l) (meet (gives-b g) (bound-b g)) none)
          (ite (has-c l) (meet (gives-c g) (bound-c g)) none))))
(define-fun of-layer ((l Layer) (g Roles)) Answer
  (meet (meet (apply2 (own1 l) (own2 l) (roles-of l g)) (ite (= (rows l) yes) all none)) (single (writes l))))

; A chain is the meet of its layers.
(define-fun of-two ((x Layer) (y Layer) (g Roles)) Answer
  (meet (of-layer x g) (of-layer y g))) ; [a child has its parent's limits]
(define-fun of-three ((x Layer) (y Layer) (z Layer) (g Roles)) Answer (meet (of-two x y g) (of-layer z g)))
