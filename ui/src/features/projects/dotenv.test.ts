import { expect, it } from 'vitest';
import { parseDotEnv } from './dotenv';

it('reads what people paste', () => {
  const pasted = `\uFEFF# database
export DATABASE_URL=postgres://u:p@db/x?a=b # the main one
EMPTY=
SPACED = yes
SINGLE='a "b" $c \\n'
DOUBLE="line\\nnext \\"quoted\\" #no comment"
KEY="-----BEGIN-----
abc
-----END-----"
EMPTY=last wins\r
`;
  expect(parseDotEnv(pasted)).toEqual({
    badLine: undefined,
    variables: [
      { name: 'DATABASE_URL', value: 'postgres://u:p@db/x?a=b' },
      { name: 'EMPTY', value: 'last wins' },
      { name: 'SPACED', value: 'yes' },
      { name: 'SINGLE', value: 'a "b" $c \\n' },
      { name: 'DOUBLE', value: 'line\nnext "quoted" #no comment' },
      { name: 'KEY', value: '-----BEGIN-----\nabc\n-----END-----' },
    ],
  });
});

it.each([
  ['A=1\nnonsense', 2],
  ['1A=x', 1],
  ['A=1\nB="never closed\nC=2', 2],
])('names the first bad line of %j', (pasted, line) => {
  expect(parseDotEnv(pasted)).toEqual({ variables: [], badLine: line });
});
