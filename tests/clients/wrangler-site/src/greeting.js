export function greeting(word, times) {
  return `${word}, for the ${times}. time\n`;
}
