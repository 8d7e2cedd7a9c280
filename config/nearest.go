package config

import "slices"

// nearest is the known word that takes the fewest single-letter changes to reach from word, or "" when none is near.
func nearest(word string, known []string) string {
	best, least := "", len(word)/2+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's, by bytes: the words are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
