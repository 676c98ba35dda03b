/* How processes follow the changes of a store.
 *
 * A store holds a record for each of two owners, an epoch, and a feed: whose record each epoch changed. A writer changes
 * records. The reply to its first write may be lost, and the write is then sent again. Nodes verify tokens, from memory
 * where they can. The law: an answer reflects every change that was committed BOUND ticks before it, and with BOUND 0
 * every change that was committed before the Verify began. And a write is applied once.
 *
 * Each write makes a new value, so a value tells when it was current. The law is checked at each answer: its value must
 * have been current at a moment that the answer may be of.
 *
 * epochs_test.go sets the bounds, plants the mistakes (-DMISTAKE_...), and replays random runs against latchkey by the
 * lines that they print.
 */

#ifndef NODES
#define NODES 2
#endif
#ifndef CALLERS
#define CALLERS 1 /* of a node, at a time */
#endif
#ifndef VERIFIES
#define VERIFIES 2 /* of each caller, one after the other */
#endif
#ifndef CHANGES
#define CHANGES 3 /* at most 6 */
#endif
#ifndef BOUND
#define BOUND 0 /* MaxStale, in ticks */
#endif
#ifndef TICKS
#define TICKS 3 /* of the clock, which all machines share */
#endif
#define OWNERS 2
#define MOMENTS (TICKS + 1)

byte value[OWNERS]; /* the record: the number of the write that made it */
byte epoch;
byte feed[8];       /* by epoch: whose record changed */
byte applied[8];    /* by write: how often it was applied. A store knows it by the id of the write */
byte time; /* on the clock */

/* For the law: the values that were current, as bits. */
#if BOUND == 0
byte since[NODES * CALLERS];      /* of the owner that a caller asks about, since it began */
byte asks[NODES * CALLERS];       /* that owner; 2 for none */
#else
byte during[OWNERS * MOMENTS];    /* in each tick */
#endif

typedef Node {
	byte epoch;            /* up to here, changes are applied */
	bool held;             /* a record was put */
	bool has[OWNERS];      /* a record is in memory, */
	bool valid[OWNERS];    /*   and no change of it was applied since */
	byte record[OWNERS];
	byte changed[OWNERS];  /* the epoch of the last change from known on */
	byte known;
	bool polled;           /* with BOUND: a poll has succeeded, */
	byte last;             /*   which began then */
};
Node node[NODES];

#if BOUND == 0
inline become(o, v) {
	value[o] = v;
	for (i : 0 .. NODES * CALLERS - 1) {
		if
		:: asks[i] == o -> since[i] = since[i] | (1 << v)
		:: else
		fi
	}
	i = 0
}
#else
inline become(o, v) {
	value[o] = v;
	during[o * MOMENTS + time] = during[o * MOMENTS + time] | (1 << v)
}
#endif

proctype Writer() {
	byte i, o;
	byte w = 1;
	bool resent = false;
	do
	:: w > CHANGES -> break
	:: atomic {
		w <= CHANGES ->
		if
#ifdef MISTAKE_EPOCH_FIRST
		:: resent -> w++; resent = false; goto next
#else
		:: resent
#endif
		:: !resent -> o = 0
		:: !resent -> o = 1
		fi;
#ifdef MISTAKE_EPOCH_FIRST
		epoch++; feed[epoch] = o
	};
	atomic {
		become(o, w); applied[w]++;
#else
		if
#ifndef MISTAKE_WRITE_WITHOUT_ID
		:: applied[w] > 0 /* it was applied already */
#endif
		:: else ->
			epoch++;
			feed[epoch] = o;
			become(o, w);
			applied[w]++;
			if
			:: w == 1 -> printf("lose %d %d\n", o, w) /* the store has it, and the writer does not know */
			:: else -> printf("commit %d %d\n", o, w)
			fi
		fi;
#endif
		assert(applied[w] == 1);
		if
		:: w == 1 && !resent -> resent = true
		:: else -> w++; resent = false
		fi
	};
next:
		skip
	od
}

#if BOUND > 0
proctype Clock() {
	byte i;
	do
	:: time == TICKS -> break
	:: atomic {
			time < TICKS ->
			time++;
			for (i : 0 .. OWNERS - 1) { during[i * MOMENTS + time] = 1 << value[i] };
			i = 0
		}
	od
}
#endif

#if BOUND == 0
inline clock() { skip }
#else
inline clock() { at = time }
#endif

/* check is the law, for an answer v of a Verify that read the clock at. */
inline check(v) {
#if BOUND == 0
	assert(since[me] & (1 << v));
#else
	allowed = 0;
	for (i : 0 .. TICKS) {
		if
		:: i + BOUND >= at && i <= time -> allowed = allowed | during[o * MOMENTS + i]
		:: else
		fi
	}
	i = 0;
	assert(allowed & (1 << v));
	allowed = 0;
#endif
	printf("answer %d %d\n", n, v)
}

proctype Caller(byte n; byte me) {
	byte i, o, at, start, target, after, upto, found, allowed;
	bool ahead;
	byte left = VERIFIES;
begin:
	atomic {
		found = 0; target = 0; after = 0; upto = 0; at = 0; start = 0; ahead = false;
#if BOUND == 0
		asks[me] = 2;
		since[me] = 0;
#endif
		if
		:: left == 0 -> goto end
		:: left > 0
		fi;
		left--;
		if :: o = 0 :: o = 1 fi;
		printf("verify %d %d\n", n, o);
#if BOUND == 0
		asks[me] = o;
		since[me] = 1 << value[o];
#else
		start = time;
		at = time;
#endif
		if
		:: !node[n].has[o] -> goto find
		:: else
		fi;
#if BOUND > 0
		if
		:: node[n].polled && at - node[n].last <= BOUND -> goto fresh
		:: else
		fi;
		if
		:: true
		:: true -> /* the store does not answer */
			printf("down %d\n", n);
#ifdef MISTAKE_FAILS_OPEN
			goto fresh
#else
			printf("refuse %d\n", n);
			goto begin
#endif
		fi
#endif
	};
	atomic { target = epoch; clock(); printf("epoch %d\n", n) };
	atomic {
		if
		:: target == node[n].epoch -> goto polled
		:: else -> ahead = target >= node[n].epoch
		fi
	};
catchup:
	atomic {
		if
		:: ahead && node[n].epoch >= target -> goto polled /* another caller has applied the changes */
		:: else -> after = node[n].epoch
		fi
	};
	atomic { upto = epoch; printf("changes %d\n", n) };
	atomic {
		if
		:: node[n].epoch != after -> goto catchup
		:: else
		fi;
		for (i : 1 .. 7) {
			if
			:: i > after && i <= upto ->
#ifndef MISTAKE_NOT_INVALIDATED
				node[n].valid[feed[i]] = false;
				node[n].has[feed[i]] = false; /* it is not found any more */
#endif
				node[n].changed[feed[i]] = i
			:: else
			fi
		}
		i = 0;
		node[n].epoch = upto;
		if
		:: upto < target -> goto catchup
		:: else
		fi
	};
polled:
	atomic {
#if BOUND > 0
		if
		:: !node[n].polled || node[n].last < start -> node[n].last = start
		:: else
		fi;
		node[n].polled = true;
#endif
		skip
	};
fresh:
	atomic {
		if
		:: node[n].valid[o] -> check(node[n].record[o]); goto begin
		:: else
		fi
	};
find:
	/* One read of the record and the epoch. */
	atomic { found = value[o]; upto = epoch; clock(); printf("find %d\n", n) };
	/* It enters the memory unless a change of the owner was applied meanwhile, or may have been. */
	atomic {
		if
#ifndef MISTAKE_PUT_WHAT_IS_OLD
		:: upto < node[n].epoch && (node[n].known > upto || node[n].changed[o] > upto)
#endif
		:: else ->
			if
			:: !node[n].held && upto > node[n].epoch ->
				node[n].changed[0] = 0;
				node[n].changed[1] = 0;
				node[n].known = upto;
				node[n].epoch = upto
			:: else
			fi;
			node[n].held = true;
			node[n].has[o] = true;
			node[n].valid[o] = true;
			node[n].record[o] = found
		fi;
		check(found);
		goto begin
	};
end:
	skip
}

init {
	byte n, c;
	atomic {
#if BOUND > 0
		during[0] = 1;
		during[MOMENTS] = 1;
#endif
		run Writer();
#if BOUND > 0
		run Clock();
#endif
		for (n : 0 .. NODES - 1) {
			for (c : 0 .. CALLERS - 1) { run Caller(n, n * CALLERS + c) }
		}
	}
}
