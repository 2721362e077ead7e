#include "eval/ruler/words.h"

#include "eval/metrics/text.h"

namespace kvedit::eval::ruler {
namespace {

constexpr std::string_view kAdjectives =
    "able agile amber ample ancient arctic autumn awake balmy bare bitter blank bleak blond bold brave "
    "breezy brief "
    "bright brisk broad bronze busy calm candid careful cheap chilly civic civil classic clean clever coarse "
    "cold "
    "cosmic costly cozy crimson crisp cruel curious curly damp dapper daring dark dear deep dense dim "
    "distant dizzy "
    "double drab dry dull dusty eager early earnest easy elder elegant empty endless equal exact faint fair "
    "famous "
    "fancy fast fierce final fine firm flat fluffy fond formal frail frank free fresh frosty frozen full "
    "gentle giant "
    "gifted glad golden grand grave gray great greedy green grim hairy handy happy hardy harsh hasty hazy "
    "heavy hidden "
    "hollow honest huge humble hungry icy idle jolly keen kind large late lazy lean light little lively "
    "local lonely "
    "long loose loud loyal lucky marble mellow merry mild misty modern modest moist muddy narrow naval neat "
    "nimble "
    "noble noisy obedient odd olive open oval pale patient plain polite poor prime private proud pure quaint "
    "quick "
    "quiet rapid rare raw ready recent regal rich ripe robust rough round royal rude rural rusty sad salty "
    "scarlet "
    "secret serene shallow sharp shiny short shy silent silver simple slim slow smart smooth sober soft "
    "solar solid "
    "sour spare spicy stable stark steep stiff still stormy strange strict strong sturdy subtle sudden sunny "
    "super "
    "sweet swift tall tame tardy tender tense thick thin tidy tiny tired tough tranquil upper urban vague "
    "vast velvet "
    "vivid warm weak weary wet white wide wild windy wise witty wooden woolly worthy young zany";

constexpr std::string_view kNouns =
    "acorn acre actor album alley almond anchor ankle antler apple apron arrow atlas attic badge bagel "
    "bakery balcony "
    "ballad bamboo banana banjo barley barrel basin basket beacon beaver beetle bell bench berry bishop "
    "blanket "
    "blossom border bottle boulder bracelet branch breeze brick bridge broom bucket buffalo bugle butter "
    "cabin cactus "
    "camel camera canal candle canoe canyon captain caravan carpet carrot castle cave cedar cellar cement "
    "chapel "
    "cherry chimney cider circus clarinet clay cliff clock cloud clover coach cobbler coconut coffee comet "
    "compass "
    "copper coral corner cottage cotton cradle crane crater cricket crown crystal cushion daisy dancer deer "
    "desert "
    "diamond dinner doctor dolphin donkey dragon drawer drum eagle easel eclipse elbow elephant ember engine "
    "envelope "
    "falcon feather fence fern ferry fiddle field finger flame flute forest fossil fountain fox galaxy "
    "garden garlic "
    "gate ginger giraffe glacier glove goat grape gravel guitar hammer hammock harbor harvest hawk hazel "
    "helmet hermit "
    "heron hill honey horizon hotel island ivory jacket jaguar jelly jewel judge jungle kayak kernel kettle "
    "kitten "
    "ladder lagoon lake lantern lawyer leaf lemon lever library lily lizard lobster locket lumber magnet "
    "mango mantle "
    "maple market meadow melon mirror moose mosaic moss mountain muffin museum mustard napkin nectar needle "
    "nephew "
    "nest notebook nutmeg oasis ocean onion orchard orchid otter oven owl oyster paddle palace panther "
    "parcel parrot "
    "pasture peach pearl pebble pelican pencil pepper petal piano picnic pigeon pillow pine pirate planet "
    "plaza plum "
    "pocket poet pond poplar potato prairie pretzel prince puddle pumpkin puppet quarry quartz quilt rabbit "
    "radish "
    "raft railway raven ribbon river robin rocket saddle sailor salmon sandal satchel scarf school scooter "
    "sculptor "
    "shadow shelter shepherd shield shovel sleeve snail soap sparrow spider spinach spoon squirrel stadium "
    "statue "
    "stove summit sunset swan table tailor teapot temple thimble thunder ticket tiger timber tomato tower "
    "tractor "
    "trumpet tulip tunnel turtle umbrella valley vase village vinegar violin volcano wagon wallet walnut "
    "walrus "
    "whale wheat whistle widow willow window winter wizard yogurt zebra zipper";

constexpr std::string_view kVerbs =
    "absorb accept adapt admire advise allow answer appear argue arrange arrive assist attend bake balance "
    "bargain "
    "become begin behave belong borrow bounce build calculate carry celebrate choose climb collect compare "
    "complain "
    "connect consider copy count create dance decide declare deliver describe develop discover divide doubt "
    "draw "
    "dream educate employ encourage enjoy enter escape examine exist expand explain explore fasten float "
    "follow "
    "forgive gather govern greet guess happen harm heal hurry ignore imagine improve include inform invent "
    "invite "
    "join juggle knit laugh learn listen manage measure mend multiply notice obey observe obtain offer "
    "operate paint "
    "permit persuade polish prepare pretend promise protect provide publish punish receive recognize "
    "remember repair "
    "repeat replace rescue scatter search settle shiver stumble suggest surround tremble untidy vanish "
    "wander whisper "
    "wonder wrestle";

std::vector<std::string> list(std::string_view text) {
  std::vector<std::string> words;
  for (const std::u32string& word : split(code_points(text))) words.push_back(utf8(word));
  return words;
}

}  // namespace

Vocabulary::Vocabulary() : adjectives_(list(kAdjectives)), nouns_(list(kNouns)) {
  for (const auto* words : {&nouns_, &adjectives_})
    singles_.insert(singles_.end(), words->begin(), words->end());
  for (std::string& word : list(kVerbs)) singles_.push_back(std::move(word));
}

std::string Vocabulary::compound(size_t index) const {
  return adjectives_[index / nouns_.size()] + "-" + nouns_[index % nouns_.size()];
}

std::vector<std::string> Vocabulary::sample(size_t count, Random& random) const {
  std::vector<std::string> words;
  if (count <= singles_.size()) {
    for (const size_t i : random.sample(count, singles_.size())) words.push_back(singles_[i]);
  } else {
    for (const size_t i : random.sample(count, compounds())) words.push_back(compound(i));
  }
  return words;
}

}  // namespace kvedit::eval::ruler
