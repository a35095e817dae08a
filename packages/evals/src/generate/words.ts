/** Words of the synthetic tasks, as the training of model-tiny uses them. */
export const adjectives: readonly string[] =
  `amber ancient arctic autumn azure bitter blazing blue bold brave bright bronze calm carved
clever cobalt cold coral cosmic crimson crystal curious dapper dark deep distant dusty eager
early electric emerald faint fancy fierce fluffy foggy forest frozen gentle giant gilded
glossy golden grand green grey hidden hollow honest humble icy idle indigo iron ivory jade
jolly keen large lavender lazy lemon light little lively lonely loud lucky lunar magic maple
marble mellow merry misty modest mossy narrow neat nimble noble northern odd olive opal orange
pale patient pearl plain polished proud purple quick quiet rapid rare red restless rich rocky
rosy rough royal ruby rustic sandy sapphire scarlet secret shiny shy silent silver simple
sleepy slow small smooth snowy soft solar solid southern sparkling spiral stark steady steep
stormy strange sturdy sunny swift tall tame tender thin tidy tiny topaz tranquil true
turquoise upbeat urban valiant vast velvet violet vivid warm weary western white wild windy
winter wise wooden yellow young zesty`.split(/\s+/);

export const nouns: readonly string[] =
  `acorn anchor antler apple arrow badger banjo barrel basin beacon beaver bell berry bison boat
bottle branch bridge brook brush bucket butter cabin cactus camel candle canoe canyon castle
cedar cherry cliff cloud clover comet compass copper corner cottage cradle crane creek cricket
crow crown dagger daisy delta desert dolphin donkey door dragon drum eagle elbow elk ember
engine falcon feather fern ferry fiddle field finch flame flute fountain fox frog galaxy
garden gate geyser ginger glacier glove goat goose grape grove hammer harbor harp hawk hazel
helmet heron hill honey horn horse hotel island jacket jaguar jungle kettle key kite ladder
lagoon lake lamp lantern lark leaf lemur library lily lion lizard lobster locket lotus magnet
mango marsh meadow melon mill mirror monkey moon moose moth mountain needle nest oak ocean
orchard orchid otter owl oyster paddle palace panda parrot peach pebble pelican pencil penguin
pepper piano pigeon pillow pine planet plum pond pony prairie puffin pyramid quail quarry
rabbit raven reef ribbon river robin rocket rose saddle salmon scarf seal shadow shell shield
shovel sparrow spider spoon spruce squirrel stable star statue stone stork stream summit swan
table temple thistle thunder tiger timber torch tower trail trumpet tulip tunnel turtle valley
vessel village violin volcano walnut walrus whale wheel willow window wolf wren zebra`.split(/\s+/);

export const firstNames: readonly string[] =
  `Ada Albert Alice Amir Anna Arthur Astrid Boris Bruno Carla Carmen Cecil Clara Conrad Daisy
Daniel Diana Edgar Edith Elena Elias Emil Emma Ernest Esther Eva Felix Fiona Frank Frida
George Gloria Greta Gustav Hannah Harold Hector Helen Henry Hugo Ida Igor Ingrid Irene Isaac
Ivan Jack James Jane Jasper Joan Jonas Julia Karl Kate Klara Lars Laura Leo Lina Louis Lucas
Lucy Luna Magnus Marcel Maria Marta Martin Max Mila Mona Nadia Nina Nora Oliver Olga Oscar
Otto Paula Peter Petra Philip Rosa Ruth Samuel Sara Simon Sofia Stella Thomas Ursula Vera
Victor Viola Walter Wanda William Yusuf Zoe`.split(/\s+/);

export const lastNames: readonly string[] =
  `Abbott Adler Alvarez Baker Barnes Becker Bell Berg Bishop Blake Brandt Brooks Carter Castro
Chen Clark Cohen Cooper Cruz Dalton Davies Dixon Doyle Duarte Eaton Ellis Evans Farrell
Fischer Fleming Foster Garcia Gibbs Grant Gray Hale Hansen Harper Hayes Hill Hoffman Holt
Hunter Ibarra Irwin Jensen Johnson Jordan Keller Kelly Kim King Klein Knight Lambert Lane
Larsen Lopez Marsh Mason Meyer Miller Moreno Morris Murphy Nelson Nolan Novak Olsen Ortega
Owens Page Palmer Parker Patel Pierce Porter Quinn Ramos Reed Reyes Rice Rivera Rossi Russell
Santos Schmidt Shaw Silva Stone Sutton Tanaka Taylor Torres Turner Vance Vargas Wagner Walsh
Ward Weber West Wolf Wood Young Zimmer`.split(/\s+/);

export const cities: readonly string[] =
  `Amsterdam Athens Baltimore Bangkok Barcelona Berlin Bogota Boston Brussels Budapest Cairo
Calgary Caracas Chicago Copenhagen Dakar Dallas Delhi Denver Detroit Dublin Edinburgh Florence
Geneva Glasgow Hamburg Hanoi Havana Helsinki Houston Istanbul Jakarta Karachi Kingston Kyoto
Lagos Lima Lisbon London Lyon Madrid Manila Melbourne Memphis Miami Milan Montreal Moscow
Mumbai Munich Nairobi Naples Osaka Oslo Ottawa Palermo Panama Paris Phoenix Porto Prague
Quebec Quito Riga Rome Santiago Seattle Seoul Seville Shanghai Sofia Stockholm Sydney Taipei
Tehran Tokyo Toronto Tunis Turin Valencia Vancouver Venice Vienna Warsaw Zagreb Zurich`.split(
    /\s+/,
  );

export const jobs: readonly string[] =
  `accountant actor architect baker barber blacksmith bookseller botanist brewer butcher
carpenter chemist clerk cook dancer dentist diver doctor editor engineer farmer firefighter
fisherman florist gardener geologist jeweler journalist judge lawyer librarian mechanic miner
musician nurse painter pharmacist photographer pilot plumber poet potter printer sailor
sculptor surgeon tailor teacher translator weaver welder writer`.split(/\s+/);

export const items: readonly string[] =
  `bread bicycle camera carpet chess cheese clock coffee coin diary drone guitar hat honey ink
kettle knife lamp map medal mirror motorcycle necklace notebook novel oven painting piano
poster radio ring rug sculpture ship sofa stamp suitcase sword telescope tent tractor trumpet
typewriter umbrella vase violin wagon watch whistle yacht`.split(/\s+/);
