// Command printer prints numbered lines to both streams, as its arguments say, and waits to be stopped.
//
//	printer lines COUNT [PAUSE]   COUNT lines with a pause after each, then wait
//	printer once COUNT            COUNT lines, then exit
//	printer flood                 as fast as it can
//	printer odd                   long, empty and broken lines, then exit
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	switch os.Args[1] {
	case "lines", "once":
		count, _ := strconv.Atoi(os.Args[2])
		var pause time.Duration
		if len(os.Args) > 3 {
			pause, _ = time.ParseDuration(os.Args[3])
		}
		for i := range count {
			out := os.Stdout
			if i%3 == 0 {
				out = os.Stderr
			}
			fmt.Fprintf(out, "line %d\n", i)
			time.Sleep(pause)
		}
		if os.Args[1] == "once" {
			return
		}
		time.Sleep(time.Hour)
	case "flood":
		out := bufio.NewWriterSize(os.Stdout, 64<<10)
		for i := 0; ; i++ {
			fmt.Fprintf(out, "flood %d %s\n", i, strings.Repeat("x", 200))
		}
	case "odd":
		fmt.Println("long " + strings.Repeat("ä", 20<<10))
		fmt.Println()
		os.Stdout.Write([]byte("broken \xff\xfe bytes\n"))
		fmt.Print("no end")
	}
}
