// SPDX-License-Identifier: MIT

// The Go side of the benchmarks: the same workloads, with GOMAXPROCS=1, one process a measurement.
//
//	gobench WORKLOAD '{"ring": 2}' SECONDS
//	gobench echo
//
// Prints one line of JSON as worker.py does; echo prints "PORT n" and serves until it is killed.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// What the cases of the workloads are made of; each workload reads the fields that it knows.
type parameters struct {
	Body     string `json:"body"`
	Ring     int    `json:"ring"`
	Batch    int    `json:"batch"`
	Pause    bool   `json:"pause"`
	Parked   int    `json:"parked"`
	Capacity int    `json:"capacity"`
	Primes   int    `json:"primes"`
	Last     int    `json:"last"`
	Sleepers int    `json:"sleepers"`
}

type result map[string]float64

// User and system time of this process, in seconds.
func cpuClock() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	seconds := float64(usage.Utime.Sec + usage.Stime.Sec)
	return seconds + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
}

// Repeat `run` with growing counts until one call takes about `seconds` of CPU time.
// `run` returns CPU seconds and operations; the value is in units of 1/perSecond.
func scaled(seconds, perSecond float64, start, most int, run func(count int) (float64, int)) result {
	count := start
	for {
		cpu, operations := run(count)
		if cpu >= seconds/2 || count >= most {
			value := cpu / float64(operations) * perSecond
			return result{"value": value, "operations": float64(operations), "cpu_seconds": cpu}
		}
		growth := 20.0
		if cpu > 0 && seconds/cpu < growth {
			growth = seconds / cpu
		}
		if growth < 1.5 {
			growth = 1.5
		}
		count = int(float64(count)*growth) + 1
		if count > most {
			count = most
		}
	}
}

func fail(why interface{}) {
	fmt.Fprintln(os.Stderr, "gobench:", why)
	os.Exit(1)
}

func main() {
	runtime.GOMAXPROCS(1)
	if len(os.Args) == 2 && os.Args[1] == "echo" {
		echo()
		return
	}
	if len(os.Args) != 4 {
		fail("usage: gobench WORKLOAD PARAMETERS SECONDS | gobench echo")
	}
	var p parameters
	if err := json.Unmarshal([]byte(os.Args[2]), &p); err != nil {
		fail(err)
	}
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	if err != nil {
		fail(err)
	}
	const ns = 1e9
	var r result
	switch os.Args[1] {
	case "switch":
		r = scaled(seconds, ns, 5, 1e9, func(n int) (float64, int) { return ring(n, p.Ring) })
	case "spawn":
		r = scaled(seconds, ns, 3, 1e9, func(n int) (float64, int) { return spawn(n, p.Batch, p.Pause) })
	case "pipe":
		r = scaled(seconds, ns, 2000, 1e9, func(n int) (float64, int) { return pipe(n, p.Capacity) })
	case "sieve":
		r = result{"value": sieve(p.Primes, p.Last, p.Capacity) * 1e3}
	case "timers":
		r = result{"value": timers(p.Sleepers)}
	case "memory":
		r = memory(p.Parked)
	default:
		fail("no such workload: " + os.Args[1])
	}
	line, err := json.Marshal(r)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(line))
}
