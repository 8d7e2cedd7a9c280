// Command step is what test Dockerfiles run: it prints, fails, sleeps, reads a secret or eats memory, as its arguments say.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	switch os.Args[1] {
	case "print":
		fmt.Println(os.Args[2])
	case "fail":
		fmt.Fprintln(os.Stderr, "about to fail")
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "hang":
		fmt.Println("hanging")
		time.Sleep(time.Hour)
	case "secret":
		value, err := os.ReadFile("/run/secrets/" + os.Args[2])
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		fmt.Printf("the secret is %s, of %d bytes\n", value, len(value))
	case "eat":
		var all [][]byte
		for len(all) < 128 { // a limit that does not work must not take the machine with it
			b := make([]byte, 8<<20)
			for i := range b {
				b[i] = byte(i)
			}
			all = append(all, b)
			fmt.Println(len(all)*8, "MiB")
		}
	}
}
