import { createTheme } from '@mantine/core';

/** How Pandu looks: the colours of a harbour, the fonts of the person's own machine. */
export const theme = createTheme({
  primaryColor: 'harbour',
  primaryShade: 7,
  defaultRadius: 'md',
  fontFamily: 'var(--pandu-font)',
  fontFamilyMonospace: 'var(--pandu-mono)',
  headings: { fontFamily: 'var(--pandu-font)', fontWeight: '650' },
  cursorType: 'pointer',
  components: { InputWrapper: { defaultProps: { withAsterisk: false } } },
  colors: {
    harbour: [
      '#e6f6f9',
      '#cdecf2',
      '#9bd9e5',
      '#66c5d8',
      '#45b9cf',
      '#1f9fb9',
      '#0f8398',
      '#0b7285',
      '#095f70',
      '#07424e',
    ],
    dark: [
      '#dbe3eb',
      '#b8c4d0',
      '#9aa8b7',
      '#6f7f90',
      '#344252',
      '#1f2a36',
      '#151d27',
      '#0d131a',
      '#0a0f15',
      '#070b10',
    ],
  },
});
