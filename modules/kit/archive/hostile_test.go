package archive_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pandu/modules/kit/archive"
	"pandu/modules/kit/fault"
)

func zeros(n int) string { return strings.Repeat("\x00", n) }

func many(n int) []zipped {
	var list []zipped
	for i := range n {
		list = append(list, file(fmt.Sprintf("f%d", i), ""))
	}
	return list
}

// entangled are links that all lead through each other and back, with long paths: following them takes for ever.
func entangled() []zipped {
	list := []zipped{file("d/f", "x"), file("g", "x")}
	for i := range 190 {
		target := strings.Repeat("d/../", 190) + fmt.Sprintf("l%d", i+1)
		if i%38 == 37 {
			target = strings.Repeat("d/../", 190) + "d"
		}
		list = append(list, zipLink(fmt.Sprintf("l%d", i), target))
	}
	return list
}

func zip64Extra(numbers ...uint64) []byte {
	b := binary.LittleEndian.AppendUint16(nil, 1)
	b = binary.LittleEndian.AppendUint16(b, uint16(8*len(numbers)))
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

func sparse(size int64) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// A sparse file of PAX 0.1 form: a map in the records, one byte in the stream.
	_ = w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644, PAXRecords: map[string]string{"PANDU.x": "1"}})
	_, _ = w.Write([]byte("x"))
	_ = w.Close()
	// The writer refuses GNU.sparse keys; write the record by patching a same-length dummy in.
	return patchPax(b.Bytes(), size)
}

// patchPax replaces the PAX block's content by the records of a sparse file.
func patchPax(data []byte, size int64) []byte {
	var records string
	for _, kv := range []string{"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=f", fmt.Sprintf("GNU.sparse.size=%d", size), "GNU.sparse.numblocks=1", fmt.Sprintf("GNU.sparse.map=%d,1", size-1)} {
		records += record(kv)
	}
	block := data[:512]
	copy(block[124:136], fmt.Sprintf("%011o\x00", len(records)))
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	body := make([]byte, 512)
	copy(body, records)
	copy(data[512:1024], body)
	return data
}

func record(kv string) string {
	for n := len(kv) + 3; ; n++ {
		if s := fmt.Sprintf("%d %s\n", n, kv); len(s) == n {
			return s
		}
	}
}

type hostile struct {
	name string
	data []byte
	code string
	path string // in the fault's parameters
}

func hostileZips() []hostile {
	plus := func(n uint32) func(uint32) uint32 { return func(v uint32) uint32 { return v + n } }
	good := makeZip(file("a", "x"))
	flip := func(data []byte, at int) []byte { c := bytes.Clone(data); c[at] ^= 0xff; return c }
	return []hostile{
		{"dot dot", makeZip(file("../evil", "x")), "archive_path_outside", "../evil"},
		{"dot dot inside", makeZip(file("a/../../evil", "x")), "archive_path_outside", "a/../../evil"},
		{"dot dot that stays", makeZip(file("a/../b", "x")), "archive_path_outside", "a/../b"},
		{"dot dot with backslashes", makeZip(file(`..\evil`, "x")), "archive_path_outside", `..\evil`},
		{"absolute", makeZip(file("/etc/passwd", "x")), "archive_path_outside", "/etc/passwd"},
		{"UNC path", makeZip(file(`\\server\share`, "x")), "archive_path_outside", `\\server\share`},
		{"drive letter", makeZip(file(`C:\evil`, "x")), "archive_path_outside", `C:\evil`},
		{"drive letter, relative", makeZip(file(`c:evil`, "x")), "archive_path_outside", `c:evil`},
		{"empty name", makeZip(file("", "x")), "archive_path_outside", ""},
		{"only a dot", makeZip(file(".", "x")), "archive_path_outside", "."},
		{"litter does not hide an escape", makeZip(file("__MACOSX/../../x", "x")), "archive_path_outside", "__MACOSX/../../x"},
		{"NUL in the name", makeZip(file("a\x00.txt", "x")), "archive_path_characters", `a\x00.txt`},
		{"line feed in the name", makeZip(file("a\nb", "x")), "archive_path_characters", `a\nb`},
		{"UTF-8 flag on other bytes", makeZip(zipped{name: "\xff\xfe", body: "x", flags: 1 << 11}), "archive_name_encoding", `\xff\xfe`},
		{"unclear encoding", makeZip(file("\xb5\xd6\xc0.txt", "x")), "archive_name_encoding", `\xb5\xd6\xc0.txt`},
		{"Korean is not taken for Chinese", makeZip(file("\xbe\xb3\xb0\xa1.txt", "x")), "archive_name_encoding", `\xbe\xb3\xb0\xa1.txt`},
		{"long name", makeZip(file(strings.Repeat("n", 256), "x")), "archive_path_length", strings.Repeat("n", 200) + "…"},
		{"long path", makeZip(file(strings.Repeat(strings.Repeat("n", 200)+"/", 6)+"f", "x")), "archive_path_length", strings.Repeat("n", 200) + "…"},
		{"deep", makeZip(file(deep(32), "x")), "archive_depth", deep(32)},
		{"twice the same", makeZip(file("a", "1"), file("a", "2")), "archive_name_collision", "a"},
		{"differ in case", makeZip(file("README", "1"), file("readme", "2")), "archive_name_collision", "readme"},
		{"folders differ in case", makeZip(file("Src/a", "1"), file("src/b", "2")), "archive_name_collision", "src/b"},
		{"differ in Unicode form", makeZip(file("caf\u00e9", "1"), file("cafe\u0301", "2")), "archive_name_collision", "cafe\u0301"},
		{"differ in Unicode case", makeZip(file("ÄRGER", "1"), file("ärger", "2")), "archive_name_collision", "ärger"},
		{"file and folder", makeZip(file("a", "1"), file("a/b", "2")), "archive_name_collision", "a/b"},
		{"folder and file", makeZip(file("a/b", "1"), file("a", "2")), "archive_name_collision", "a"},
		{"slash and backslash", makeZip(file("a/b", "1"), file(`a\b`, "2")), "archive_name_collision", "a/b"},
		{"through a link", makeZip(zipLink("l", "d"), file("l/x", "1"), file("d/y", "1")), "archive_through_link", "l/x"},
		{"link after what is below it", makeZip(file("l/x", "1"), zipLink("l", "d")), "archive_name_collision", "l"},
		{"link outside", makeZip(zipLink("l", "../../etc/passwd"), file("f", "x")), "archive_link_outside", "l"},
		{"absolute link", makeZip(zipLink("l", "/etc/passwd"), file("f", "x")), "archive_link_outside", "l"},
		{"empty link", makeZip(zipLink("l", ""), file("f", "x")), "archive_link_outside", "l"},
		{"link out of the stripped folder", makeZip(zipLink("top/l", "../x"), file("top/f", "x")), "archive_link_outside", "l"},
		{"links that leave together", makeZip(zipLink("d1/d2/up", "../.."), zipLink("q", "d1/d2/up/../x"), file("f", "x")), "archive_link_outside", "q"},
		{"link with NUL", makeZip(zipLink("l", "a\x00b"), file("f", "x")), "archive_path_characters", `a\x00b`},
		{"link to itself", makeZip(zipLink("l", "l"), file("f", "x")), "archive_link_loop", "l"},
		{"links in a circle", makeZip(zipLink("a", "b"), zipLink("b", "a"), file("f", "x")), "archive_link_loop", "a"},
		{"long link", makeZip(zipLink("l", strings.Repeat("x/", 600)), file("f", "x")), "archive_path_length", "l"},
		{"device", makeZip(zipped{name: "d", mode: 0o020666}, file("f", "x")), "archive_special_file", "d"},
		{"pipe", makeZip(zipped{name: "p", mode: 0o010666}, file("f", "x")), "archive_special_file", "p"},
		{"setuid", makeZip(zipped{name: "s", body: "x", mode: 0o104755}), "archive_setuid", "s"},
		{"setgid", makeZip(zipped{name: "s", body: "x", mode: 0o102755}), "archive_setuid", "s"},
		{"encrypted", makeZip(zipped{name: "e", body: "x", flags: 1}), "archive_encrypted", "e"},
		{"strongly encrypted", makeZip(zipped{name: "e", body: "x", flags: 1 | 1<<6}), "archive_encrypted", "e"},
		{"encrypted directory", makeZip(zipped{name: "e", body: "x", flags: 1 << 13}), "archive_encrypted", "e"},
		{"unknown method", makeZip(zipped{name: "m", body: "x", method: 99}), "archive_method", "m"},
		{"local name differs", makeZip(zipped{name: "good", localName: "evil", body: "x"}), "archive_header_mismatch", "good"},
		{"local name is longer", makeZip(zipped{name: "good", localName: "../../evil", body: "x"}), "archive_header_mismatch", "good"},
		{"local size differs", makeZip(zipped{name: "f", body: "xx", localSize: plus(1)}), "archive_header_mismatch", "f"},
		{"offset beyond the end", makeZip(zipped{name: "f", body: "x", offset: 1 << 20}), "archive_header_mismatch", "f"},
		{"offset into content", makeZip(zipped{name: "f", body: "x", offset: 3}), "archive_header_mismatch", "f"},
		{"folder name on a link", makeZip(zipLink("d/", "f"), file("f", "x")), "archive_header_mismatch", "d/"},
		{"folder with content", makeZip(zipped{name: "d/", body: "x"}, file("f", "x")), "archive_size_mismatch", "d/"},
		{"says less than it has", makeZip(zipped{name: "f", body: "xxxx", unpacked: func(uint32) uint32 { return 1 }}), "archive_size_mismatch", "f"},
		{"says more than it has", makeZip(zipped{name: "f", body: "xxxx", unpacked: plus(1)}), "archive_size_mismatch", "f"},
		{"stored, two sizes", makeZip(zipped{name: "f", body: "xxxx", stored: true, unpacked: plus(1)}), "archive_size_mismatch", "f"},
		{"wrong checksum", makeZip(zipped{name: "f", body: "x", crc: 1}), "archive_corrupt", "f"},
		{"one content for two", makeZip(file("a", "x"), zipped{name: "a", sameData: true, body: "x"}), "archive_overlap", "a"},
		{"zip64 says more", makeZip(zipped{name: "f", body: "x", unpacked: func(uint32) uint32 { return 1<<32 - 1 }, extra: zip64Extra(1 << 62), localExtra: zip64Extra(1<<62, 1)}), "archive_unpacked_size", "f"},
		{"zip64 negative", makeZip(zipped{name: "f", body: "x", unpacked: func(uint32) uint32 { return 1<<32 - 1 }, extra: zip64Extra(1 << 63)}), "archive_corrupt", ""},
		{"zip64 sum overflows", makeZip(file("a", "x"), zipped{name: "f", body: "x", unpacked: func(uint32) uint32 { return 1<<32 - 1 }, extra: zip64Extra(1<<63 - 1), localExtra: zip64Extra(1<<63-1, 1)}), "archive_unpacked_size", "f"},
		{"zip64 field too short", makeZip(zipped{name: "f", body: "x", unpacked: func(uint32) uint32 { return 1<<32 - 1 }, extra: []byte{1, 0, 4, 0, 1, 2, 3, 4}}), "archive_corrupt", ""},
		{"zip64 end says too many", makeZip64(func(n, _, _ *uint64) { *n = 1 << 40 }, file("f", "x")), "archive_entries", ""},
		{"zip64 end says a negative number", makeZip64(func(n, _, _ *uint64) { *n = 1 << 63 }, file("f", "x")), "archive_corrupt", ""},
		{"zip64 end says more bytes", makeZip64(func(_, n, _ *uint64) { *n = 1 << 62 }, file("f", "x")), "archive_corrupt", ""},
		{"zip64 end says another place", makeZip64(func(_, _, n *uint64) { *n++ }, file("f", "x")), "archive_corrupt", ""},
		{"zip64 locator leads nowhere", bytes.Replace(makeZip64(nil, file("f", "x")), []byte("PK\x06\x06"), []byte("PK\x00\x00"), 1), "archive_corrupt", ""},
		{"entangled links", makeZip(entangled()...), "archive_link_loop", "l131"},
		{"big directory", makeZip(zipped{name: "f", body: "x", extra: bytes.Repeat([]byte{9}, 60000)}, zipped{name: "f", body: "x"}), "archive_name_collision", "f"},
		{"bomb", makeZip(file("bomb", zeros(18<<20))), "archive_ratio", "bomb"},
		{"bomb that lies", makeZip(zipped{name: "bomb", body: zeros(18 << 20), unpacked: func(uint32) uint32 { return 10 }}), "archive_size_mismatch", "bomb"},
		{"too many", makeZip(many(201)...), "archive_entries", ""},
		{"cut short", good[:len(good)-5], "archive_corrupt", ""},
		{"end record only half", []byte("PK\x05\x06\x00\x00"), "archive_corrupt", ""},
		{"empty zip", end(0, 0, 0), "archive_empty", ""},
		{"only folders", makeZip(file("a/", ""), file("a/b/", "")), "archive_empty", ""},
		{"only litter", makeZip(file("__MACOSX/x", "x"), file(".DS_Store", "x")), "archive_empty", ""},
		{"data after the end", append(bytes.Clone(good), "tail"...), "archive_corrupt", ""},
		{"data before the directory", append([]byte("PK\x03\x04 polyglot"), good...), "archive_corrupt", ""},
		{"more entries than said", append(bytes.Clone(good[:len(good)-22]), end(0, 47, 32)...), "archive_corrupt", ""},
		{"fewer entries than said", append(bytes.Clone(good[:len(good)-22]), end(2, 47, len(good)-22-47)...), "archive_corrupt", ""},
		{"broken directory", flip(good, len(good)-22-46), "archive_corrupt", ""},
	}
}

func hostileTars() []hostile {
	link := func(name, target string) tarred { return tarOf(tar.TypeSymlink, name, target) }
	good := makeTarGz(tarFile("a", "x"))
	plain := makeTar(tarFile("a", strings.Repeat("x", 2000)))
	return []hostile{
		{"tar dot dot", makeTarGz(tarFile("../evil", "x")), "archive_path_outside", "../evil"},
		{"tar absolute", makeTarGz(tarFile("/etc/passwd", "x")), "archive_path_outside", "/etc/passwd"},
		{"tar not UTF-8", makeTarGz(tarFile("a\xff", "x")), "archive_name_encoding", `a\xff`},
		{"tar deep", makeTarGz(tarFile(deep(40), "x")), "archive_depth", deep(40)},
		{"tar twice", makeTarGz(tarFile("a", "1"), tarFile("./a", "2")), "archive_name_collision", "a"},
		{"tar case", makeTar(tarFile("A", "1"), tarFile("a", "2")), "archive_name_collision", "a"},
		{"tar link then write through", makeTarGz(link("l", "/tmp"), tarFile("l/evil", "x")), "archive_through_link", "l/evil"},
		{"tar link replaced by a file", makeTarGz(link("l", "/etc/passwd"), tarFile("l", "x")), "archive_name_collision", "l"},
		{"tar link outside", makeTarGz(link("l", "../x"), tarFile("f", "x")), "archive_link_outside", "l"},
		{"tar link chain outside", makeTarGz(tarOf(tar.TypeDir, "a", ""), link("a/b", ".."), link("c", "a/b/../x"), tarFile("f", "x")), "archive_link_outside", "c"},
		{"tar hard link outside", makeTarGz(tarFile("f", "x"), tarOf(tar.TypeLink, "h", "../../etc/passwd")), "archive_link_outside", "h"},
		{"tar hard link absolute", makeTarGz(tarFile("f", "x"), tarOf(tar.TypeLink, "h", "/etc/passwd")), "archive_link_outside", "h"},
		{"tar hard link to nothing", makeTarGz(tarFile("f", "x"), tarOf(tar.TypeLink, "h", "g")), "archive_hardlink", "h"},
		{"tar hard link forward", makeTarGz(tarOf(tar.TypeLink, "h", "f"), tarFile("f", "x")), "archive_hardlink", "h"},
		{"tar hard link to a link", makeTarGz(tarFile("f", "x"), link("l", "f"), tarOf(tar.TypeLink, "h", "l")), "archive_hardlink", "h"},
		{"tar character device", makeTarGz(tarOf(tar.TypeChar, "d", ""), tarFile("f", "x")), "archive_special_file", "d"},
		{"tar block device", makeTarGz(tarOf(tar.TypeBlock, "d", ""), tarFile("f", "x")), "archive_special_file", "d"},
		{"tar pipe", makeTarGz(tarOf(tar.TypeFifo, "p", ""), tarFile("f", "x")), "archive_special_file", "p"},
		{"tar setuid", makeTarGz(tarred{tar.Header{Name: "s", Typeflag: tar.TypeReg, Mode: 0o4755}, "x"}), "archive_setuid", "s"},
		{"tar bomb", makeTarGz(tarFile("b", zeros(18<<20))), "archive_ratio", "b"},
		{"gzip bomb behind the end", gz(append(makeTar(tarFile("f", "x")), zeros(18<<20)...)), "archive_ratio", "f"},
		{"gzip bomb of a tar with no end", gz([]byte(zeros(18 << 20))), "archive_ratio", ""},
		{"tar sparse bomb", gz(sparse(1 << 40)), "archive_ratio", "f"},
		{"tar too many", makeTarGz(manyTarred(201)...), "archive_entries", "f200"},
		{"tar empty", makeTarGz(), "archive_empty", ""},
		{"tar plain empty", makeTar(), "archive_empty", ""},
		{"tar only folders", makeTarGz(tarOf(tar.TypeDir, "d/", "")), "archive_empty", ""},
		{"tar.gz cut short", good[:len(good)-9], "archive_corrupt", ""},
		{"tar.gz checksum", append(bytes.Clone(good[:len(good)-8]), 1, 2, 3, 4, 5, 6, 7, 8), "archive_corrupt", ""},
		{"tar cut short", plain[:1024], "archive_corrupt", "a"},
		{"gzip of no tar", gz([]byte(strings.Repeat("hello ", 500))), "archive_format", ""},
		{"gzip of little", gz([]byte("hello")), "archive_corrupt", ""},
		{"gzip header only", []byte("\x1f\x8b"), "archive_corrupt", ""},
		{"two archives in one", append(bytes.Clone(good), makeTarGz(tarFile("b", "x"))...), "archive_trailing_data", ""},
		{"trailing text", append(makeTar(tarFile("a", "x")), "tail"...), "archive_trailing_data", ""},
		{"rubbish behind gzip", append(bytes.Clone(good), "tail"...), "archive_corrupt", ""},
		{"nothing at all", nil, "archive_empty", ""},
		{"rar", []byte("Rar!\x1a\x07\x00 and so on"), "archive_format", ""},
		{"7z", []byte("7z\xbc\xaf\x27\x1c"), "archive_format", ""},
		{"an executable", []byte("MZ\x90\x00"), "archive_format", ""},
		{"text", []byte("hello, world"), "archive_format", ""},
		{"random block", bytes.Repeat([]byte{1, 2, 3, 4}, 256), "archive_format", ""},
		{"packed too big", bytes.Repeat([]byte{7}, 3<<20), "archive_packed_size", ""},
		{"unpacked too big", makeTarGz(tarFile("a", random(1<<20)), tarFile("b", random(20<<20))), "archive_unpacked_size", "b"},
	}
}

func manyTarred(n int) []tarred {
	var list []tarred
	for i := range n {
		list = append(list, tarFile(fmt.Sprintf("f%d", i), ""))
	}
	return list
}

// random is text that packs to about a fiftieth, so that the unpacked limit is met before the ratio.
func random(n int) string {
	var b strings.Builder
	x := uint64(1)
	for b.Len() < n {
		x = x*6364136223846793005 + 1442695040888963407
		b.WriteString(strings.Repeat(string(rune('a'+x>>59)), 64))
	}
	return b.String()[:n]
}

// corpus is built once: the bombs in it take a while.
var corpus = sync.OnceValue(func() []hostile { return append(hostileZips(), hostileTars()...) })

// TestHostile: each archive is refused with its code, names the place, and writes nothing outside its folder.
func TestHostile(t *testing.T) {
	limits := archive.DefaultLimits()
	limits.Packed, limits.Unpacked, limits.Entries = 2<<20, 20<<20, 200
	for _, c := range corpus() {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "canary", "in")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			a, err := open(t, c.data, limits)
			if err == nil {
				_, err = a.Check(t.Context())
				judge(t, c, err)
				err = a.Extract(t.Context(), dir)
			}
			judge(t, c, err)
			for _, folder := range []string{parent, filepath.Dir(dir)} {
				if list, _ := os.ReadDir(folder); len(list) != 1 {
					t.Errorf("%s holds %v", folder, list)
				}
			}
		})
	}
}

func judge(t *testing.T, c hostile, err error) {
	t.Helper()
	f := fault.From(err)
	if f == nil || f.Code != c.code || (f.Kind != fault.Invalid && f.Kind != fault.TooLarge) {
		t.Fatalf("got %v (%v), want %s", f, err, c.code)
	}
	if f.Parameters["path"] != c.path {
		t.Errorf("path %q, want %q", f.Parameters["path"], c.path)
	}
	if c.path != "" && !strings.Contains(f.Message, c.path) {
		t.Errorf("message %q does not name %q", f.Message, c.path)
	}
	if f.Kind == fault.TooLarge && !(strings.Contains(f.Message, ".dockerignore") && strings.Contains(f.Message, "node_modules")) {
		t.Errorf("message %q has no remedy", f.Message)
	}
}
